"""Exact norms on an interval beside linear programs by HiGHS through SciPy.

The peer is what one writes without this library: f on a grid of points, RePU_s particles with their
kinks on a grid, the least cost by one linear program a value.  Its error is that of the grids, and
it is printed; the library's brackets are asked for at that gap, and at nine digits.  Two programs:
kinks four times as fine as the points, and kinks at the points only, a quarter of the particles and
nearly the same error.

The library's side is one compiled call of many norms on the device that JAX gives; on a processor
both sides run as one stream of work.  Programs, and proofs at the rigorous level, run on the
processor always.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from jaxbarron.activations import activation
from jaxbarron.bounds.interval_norm import interval_norm, norm_function
from jaxbarron.programs import evaluate_program

__all__ = ["NormFigure", "norm_figures"]

# Lanes of one part wait for the slowest of them: few on a processor, where that is all that counts,
# and enough to fill any other device.
_LANES = {"cpu": 16}
_MANY_LANES = 2**14
_BATCH = {"cpu": 512}  # norms a call
_MANY = 2**17
_FINENESS = (4, 1)  # kinks between two points
_PROGRAMS = 4  # values of the peer
_SPREADS, _OFFSETS = (0.1, 8.0), 2.0


@dataclass(frozen=True)
class NormFigure:
    """Values a second of both, the gap that was asked for and met, and the program's error.

    ``particles`` is the number of the program's, of either sign one; ``batch`` that of the norms in
    one call on ``device``, ``lanes`` of them side by side.
    """

    source: str
    s: int
    points: int
    particles: int
    program_error: float
    program_seconds: float
    gap: float
    largest_gap: float
    values_a_second: float
    ratio: float
    rigorous_seconds: float
    batch: int
    lanes: int
    device: str
    jax: str


def norm_figures(
    quick: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
    batch: int | None = None,
    lanes: int | None = None,
) -> list[NormFigure]:
    """Random particles of each source; ``progress`` is given (there, wanted).

    ``batch`` norms a call, ``lanes`` side by side: left out, what suits the device.
    """
    wanted = [("tanh", 1)] if quick else [("tanh", 1), ("gelu", 1), ("tanh", 2), ("gelu", 2)]
    device = jax.devices()[0]
    points = 21 if quick else 121
    count = batch or (32 if quick else _BATCH.get(device.platform, _MANY))
    side = min(count, lanes or _LANES.get(device.platform, _MANY_LANES))
    figures: list[NormFigure] = []
    for name, s in wanted:
        rng = np.random.default_rng(0)
        w = np.exp(rng.uniform(*np.log(_SPREADS), count))
        b = rng.uniform(-_OFFSETS, _OFFSETS, count)
        rigorous = _rigorous_seconds(name, s, w[:_PROGRAMS], b[:_PROGRAMS])
        for fineness in _FINENESS:
            kinks = fineness * (points - 1) + 1
            seconds, error = _programs(name, s, w[:_PROGRAMS], b[:_PROGRAMS], points, kinks)
            for gap in (max(error, 1e-6), *((1e-9,) if fineness == _FINENESS[-1] else ())):
                rate, largest = _rate(name, s, w, b, gap, side)
                figures.append(
                    NormFigure(
                        name, s, points, 8 * kinks, error, seconds, gap, largest, rate,
                        rate * seconds, rigorous, count, side, device.device_kind, jax.__version__,
                    )
                )  # fmt: skip
        progress(len(figures) // 3, len(wanted))
    return figures


def _rate(
    name: str, s: int, w: np.ndarray, b: np.ndarray, gap: float, lanes: int
) -> tuple[float, float]:
    """Values a second of one compiled call, and the largest gap reached."""
    with jax.enable_x64(True):
        one = norm_function(name, s, rel_gap=gap)

        def bounds(place: Any) -> Any:
            found = one(*place)
            return found.lower, found.upper

        # in parts, of which the lanes wait for the slowest; the evidence of many would fill memory
        run = jax.jit(lambda *v: jax.lax.map(bounds, v, batch_size=lanes))
        arguments = jnp.asarray(w), jnp.asarray(b)
        jax.block_until_ready(run(*arguments))
        times = list[float]()
        for _ in range(3):
            start = time.perf_counter()
            lower, upper = jax.block_until_ready(run(*arguments))
            times.append(time.perf_counter() - start)
        largest = float(jnp.max((upper - lower) / upper))
    return w.size / float(np.median(times)), largest


def _rigorous_seconds(name: str, s: int, w: np.ndarray, b: np.ndarray) -> float:
    """One value with its proof, search and compiled code apart: bounds by ball arithmetic too."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        interval_norm(name, s, level="rigorous")
        start = time.perf_counter()
        for spread, offset in zip(w, b, strict=True):
            interval_norm(name, s, spread=float(spread), offset=float(offset), level="rigorous")
        return (time.perf_counter() - start) / w.size


def _programs(
    name: str, s: int, w: np.ndarray, b: np.ndarray, points: int, kinks: int
) -> tuple[float, float]:
    """Seconds a program, and the largest relative error of its value."""
    total, worst = 0.0, 0.0
    for spread, offset in zip(w, b, strict=True):
        start = time.perf_counter()
        value = _program(name, s, float(spread), float(offset), points, kinks)
        total += time.perf_counter() - start
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            exact = interval_norm(name, s, spread=float(spread), offset=float(offset)).upper
        worst = max(worst, abs(1 - value / exact))
    return total / w.size, worst


def _program(name: str, s: int, w: float, b: float, points: int, kinks: int) -> float:
    y = np.linspace(-1, 1, points)
    f = evaluate_program(activation(name).program, w * y + b)
    outside = inside = np.linspace(-1, 1, kinks)
    alpha = np.concatenate([1 - np.abs(outside), np.abs(outside) - 1] + [
        sign / (1 + np.abs(inside)) for sign in (1, -1)
    ])  # fmt: skip
    beta = np.concatenate([outside, outside] + [
        -sign * inside / (1 + np.abs(inside)) for sign in (1, -1)
    ])  # fmt: skip
    columns: Any = np.maximum(alpha[:, None] * y + beta[:, None], 0) ** s
    size = np.abs(f).max() * 1e-3  # the solver's tolerances are absolute
    found = scipy.optimize.linprog(
        np.ones(2 * alpha.size),
        A_eq=np.concatenate([columns, -columns]).T,
        b_eq=f / size,
        bounds=(0, None),
        method="highs",
    )
    return float(found.fun) * size
