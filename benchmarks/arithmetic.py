"""What this machine's float32 arithmetic is worth beside what ``float32_error`` assumes of it.

Every function at floats spread evenly over all bit patterns, on an accelerator at all 2^32 of them;
sums, products and quotients of random bit patterns; products of matrices with one term each.  The
reference is the same operation in float64 on the same device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbarron.bounds.networks.arithmetic import ABSOLUTE, FLOAT32, GROWTH, device_arithmetic

__all__ = ["ArithmeticFigure", "arithmetic_figures", "beyond"]

_TINY = 2.0**-125  # what a flushed number may lose
_LARGEST = 3.3e38  # beyond, a float32 may overflow
_PART = 2**22
_QUOTIENT = 3.0  # roundings that a quotient is charged
_PAIRS: dict[str, tuple[Callable[..., Any], float]] = {
    "add": (lax.add, 1.0), "mul": (lax.mul, 1.0), "div": (lax.div, _QUOTIENT),
}  # fmt: skip


@dataclass(frozen=True)
class ArithmeticFigure:
    """The largest error of one operation, in roundings of its result, and what is assumed.

    ``worst`` is the largest of the errors over what is assumed there; ``at`` where it was met.
    """

    name: str
    points: int
    error: float
    assumed: float
    worst: float
    at: float


def arithmetic_figures(
    quick: bool, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[ArithmeticFigure]:
    """All operations of the assumptions; ``progress`` is given (measured, wanted)."""
    everything = jax.default_backend() != "cpu"
    parts = 1 if quick else (2**32 // _PART if everything else 8)
    assumed = device_arithmetic()
    wanted = len(assumed.ulps) + len(_PAIRS) + 2
    figures: list[ArithmeticFigure] = []

    def add(figure: ArithmeticFigure) -> None:
        figures.append(figure)
        progress(len(figures), wanted)

    with jax.enable_x64(True):
        for name, ulps in assumed.ulps.items():
            add(_function(name, ulps, parts))
        for name, (operation, roundings) in _PAIRS.items():
            add(_pair(name, operation, roundings, min(parts, 64)))
    for name, precision, unit in (
        ("matrix product", None, assumed.products),
        ("the same, highest", lax.Precision.HIGHEST, assumed.highest),
    ):
        add(_matrix(name, precision, unit))
    return figures


def beyond(figures: Sequence[ArithmeticFigure]) -> list[str]:
    """A sentence for each operation that is off by more than is assumed."""
    return [
        f"{x.name} at {x.at!r}: {x.worst:.3g} times the error that is assumed of it"
        for x in figures
        if not x.worst <= 1
    ]


def _function(name: str, ulps: float, parts: int) -> ArithmeticFigure:
    function = jnp.arctan if name == "atan" else getattr(lax, name)
    stride = 2**32 // (parts * _PART)

    @jax.jit
    def largest(start: Any) -> Any:
        bits = start + jnp.uint32(stride) * jnp.arange(_PART, dtype=jnp.uint32)
        x = lax.bitcast_convert_type(bits, jnp.float32)
        # without the barrier XLA may compute in float64 and round
        y = function(lax.optimization_barrier(x)).astype(jnp.float64)
        wide = x.astype(jnp.float64)
        real = function(wide)
        size = jnp.ones_like(real) if name in ABSOLUTE else jnp.abs(real)
        counts = jnp.isfinite(wide) & jnp.isfinite(real) & (size < _LARGEST)
        error = jnp.maximum(jnp.abs(y - real) - _TINY, 0) / (2 * FLOAT32 * (size + 1e-100))
        allowed = ulps + (jnp.abs(wide) ** GROWTH[name] if name in GROWTH else 0 * wide)
        ratio = jnp.where(counts, jnp.nan_to_num(error / allowed, nan=jnp.inf), 0)
        at = jnp.argmax(ratio)
        return error[at], allowed[at], ratio[at], wide[at]

    starts = (np.arange(parts, dtype=np.uint64) * (2**32 // parts)).astype(np.uint32)
    found = [tuple(map(float, largest(start))) for start in starts]
    error, allowed, worst, at = max(found, key=lambda row: row[2])
    # in roundings u of the result, as for the others
    return ArithmeticFigure(name, parts * _PART, 2 * error, 2 * allowed, worst, at)


def _pair(name: str, operation: Any, roundings: float, parts: int) -> ArithmeticFigure:
    @jax.jit
    def largest(key: Any) -> Any:
        bits = jax.random.bits(key, (2, _PART), jnp.uint32)
        x, y = lax.bitcast_convert_type(bits, jnp.float32)
        z = operation(*lax.optimization_barrier((x, y))).astype(jnp.float64)
        real = operation(x.astype(jnp.float64), y.astype(jnp.float64))
        counts = jnp.isfinite(real) & (jnp.abs(real) < _LARGEST) & (real != 0)
        error = jnp.maximum(jnp.abs(z - real) - _TINY, 0) / (FLOAT32 * jnp.abs(real))
        error = jnp.where(counts, jnp.nan_to_num(error, nan=jnp.inf), 0)
        at = jnp.argmax(error)
        return error[at], real[at]

    found = [tuple(map(float, largest(jax.random.key(k)))) for k in range(parts)]
    error, at = max(found)
    return ArithmeticFigure(name, parts * _PART, error, roundings, error / roundings, at)


def _matrix(name: str, precision: Any, unit: float) -> ArithmeticFigure:
    """Each entry of the product is one product of two numbers: only they are rounded."""
    rng = np.random.default_rng(0)
    count, inner = 2048, 64
    left = np.zeros((count, inner), np.float32)
    left[np.arange(count), rng.integers(0, inner, count)] = rng.uniform(1, 2, count)
    right = rng.uniform(1, 2, (inner, count)).astype(np.float32)
    real = left.astype(np.float64) @ right.astype(np.float64)
    found = jax.jit(lambda a, b: jnp.matmul(a, b, precision=precision))(left, right)
    errors = np.abs(np.asarray(found, np.float64) - real) / (FLOAT32 * real)
    roundings = (2 * unit + unit**2) / FLOAT32 * (unit > FLOAT32) + 1
    at = np.unravel_index(np.argmax(errors), errors.shape)
    error = float(errors[at])
    return ArithmeticFigure(name, count**2, error, roundings, error / roundings, float(real[at]))
