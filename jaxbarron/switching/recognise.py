"""Recognise an activation by its values.

A name in a jaxpr proves nothing and is mostly absent: GELU is nine inlined primitives.  A scalar
program is recognised by what it computes: its values on a fixed grid are compared with those of
every registered activation, traced in the dtype of the site, so that both sides carry literals
rounded in the same way.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.activations import Activation, activation, registered_activations
from jaxbarron.errors import UnsupportedPrimitiveError, UsageError
from jaxbarron.programs import Program, Register, evaluate_program, program_of_jaxpr

__all__ = ["is_affine", "is_elementary", "recognise", "same_function"]


def _grid() -> np.ndarray:
    """Points that no kink of a sensible activation hits, dense, near zero and far out.

    Far out, because a ReLU clipped at 20 is no ReLU; near zero, because of thresholds and because
    the parameters of softplus and squareplus are read there.
    """
    dense = np.linspace(-12.0, 12.0, 257) + (math.sqrt(2.0) - 1.0) / 64
    near = np.geomspace(1e-6, 0.04, 12)
    far = np.asarray([13.7, 17.3, 21.9, 33.1, 50.3, 101.7, 299.3, 1.03e3, 1.01e5, 1.07e7])
    return np.sort(np.concatenate([dense, near, -near, far, -far]))


GRID = _grid()
_CLOSE = 2e-6
# Beyond this, exp overflows in the double precision of the comparison where the activation itself
# is finite; such points are left out.
_MUST_BE_FINITE = np.abs(GRID) <= 300.0
_SMALL = int(np.argmin(np.abs(GRID - 1e-6)))
_MINUS_SMALL = int(np.argmin(np.abs(GRID + 1e-6)))


def _at(z: float) -> int:
    return int(np.argmin(np.abs(GRID - z)))


def recognise(program: Program, dtype: Any, own: Sequence[Activation] = ()) -> Activation | None:
    """The activation that a scalar program computes, or None.

    Args:
        program: the function.
        dtype: the floating dtype in which it was written; its literals are rounded to that.
        own: the user's own activations, which come before the registered ones.

    Two functions are the same where they differ by at most ``2e-6 (1 + |z|)`` at all grid points
    (relative where they grow faster); in half precision, where the literals themselves are off by
    half a unit in the last place, by at most ``eps (1 + |z|) / 2`` and the nearest is taken.
    """
    name = np.dtype(dtype).name
    for mine in own:
        if _distance(_values(program), _column_of(mine, name)) <= _tolerance(name):
            return mine
    return _registered(program, name)


def same_function(first: Activation, second: Activation) -> bool:
    """Whether two activations agree on the grid."""
    if first.name == second.name and first.family == second.family:
        return True
    column, other = _column_of(first, "float32"), _column_of(second, "float32")
    return column is not None and _distance(column, other) <= _CLOSE


def is_affine(program: Program) -> bool:
    """Whether a program computes ``a z + b``."""
    if isinstance(program.output, Register) and not program.operations:
        return True
    values = _values(program)
    finite = np.isfinite(values)
    if not finite[_MUST_BE_FINITE].all():
        return False
    left, right = _at(-3.0), _at(3.0)
    a = (values[right] - values[left]) / (GRID[right] - GRID[left])
    b = values[right] - a * GRID[right]
    scale = (1 + np.abs(GRID)) * (abs(a) + abs(b) + 1e-30)
    return bool(np.all(np.abs(values - a * GRID - b)[finite] <= 1e-9 * scale[finite]))


_ELEMENTARY: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    *[lambda z, n=n: z**n for n in range(2, 9)],
    *[lambda z, n=n: z ** float(-n) for n in range(1, 5)],
    np.exp, np.exp2, np.log, np.log1p, np.sqrt, np.cbrt,
    lambda z: 1 / np.sqrt(z),
    lambda z: z * np.log(z),
)  # fmt: skip
_ELEMENTARY_PRIMITIVES = frozenset(
    {"square", "integer_pow", "pow", "exp", "exp2", "expm1", "log", "log1p", "sqrt", "rsqrt",
     "cbrt", "div"}
)  # fmt: skip


def is_elementary(program: Program) -> bool:
    """Whether a program is, up to scale and shift, a power, a root, exp, log or ``z log z``.

    These belong to normalisation, softmax and losses; no site is made of them by default.
    """
    if len(program.operations) == 1 and program.operations[0].name in _ELEMENTARY_PRIMITIVES:
        return True
    near = np.abs(GRID) <= 3.0
    values = _values(program)[near]
    for function in _ELEMENTARY:
        with np.errstate(all="ignore"):
            column = function(GRID[near])
        both = np.isfinite(values) & np.isfinite(column)
        if both.sum() < 10 or (np.isfinite(values) != np.isfinite(column)).any():
            continue
        matrix = np.stack([column[both], np.ones(int(both.sum()))], axis=1)
        matrix, scale = matrix / np.abs(matrix).max(axis=0), np.abs(values[both]).max()
        fit = np.linalg.lstsq(matrix, values[both], rcond=None)[0]
        if np.abs(matrix @ fit - values[both]).max() <= 1e-7 * scale:
            return True
    return False


# ------------------------------------------------------------------ comparing


@functools.lru_cache(maxsize=4096)
def _values(program: Program) -> np.ndarray:
    return evaluate_program(program, GRID)


def _tolerance(dtype: str) -> float:
    return float(jnp.finfo(dtype).eps) / 2 if _is_half(dtype) else _CLOSE


def _distance(values: np.ndarray, column: np.ndarray | None) -> float:
    """The largest difference, relative to 1 + |z| and to the size of the function."""
    if column is None:
        return math.inf
    both = np.isfinite(values) & np.isfinite(column)
    if not both[_MUST_BE_FINITE].all():
        return math.inf
    scale = 1 + np.maximum(np.abs(GRID), np.abs(column))
    return float((np.abs(values[both] - column[both]) / scale[both]).max())


@functools.lru_cache(maxsize=1024)
def _registered(program: Program, dtype: str) -> Activation | None:
    values = _values(program)
    if not np.isfinite(values[_MUST_BE_FINITE]).all() or is_affine(program):
        return None
    members, matrix = _registry(dtype)
    scale = 1 + np.maximum(np.abs(GRID), np.abs(matrix))
    difference = np.abs(values - matrix) / scale
    distances = np.where(np.isfinite(difference), difference, 0.0).max(axis=1)
    best = int(np.argmin(distances))
    if distances[best] <= _CLOSE:
        return members[best]
    for family, estimate in _ESTIMATES.items():
        member = _of_family(family, estimate(values), values, dtype)
        if member is not None:
            return member
    return members[best] if distances[best] <= _tolerance(dtype) else None


@functools.cache
def _registry(dtype: str) -> tuple[tuple[Activation, ...], np.ndarray]:
    """The activations that values can be compared with, and their columns.

    ``prelu`` is ``leaky_relu`` under another name, and the identity is no activation to replace.
    """
    members = [a for a in registered_activations() if a.family not in ("identity", "prelu")]
    columns = [(a, _column_of(a, kind)) for kind in _roundings(dtype) for a in members]
    kept = [(a, c) for a, c in columns if c is not None]
    return tuple(a for a, _ in kept), np.stack([c for _, c in kept])


def _roundings(dtype: str) -> tuple[str, ...]:
    """The dtypes in which the literals of a program may have been rounded, the likely one first."""
    return (dtype, "float32") if _is_half(dtype) else (dtype,)


def _is_half(dtype: str) -> bool:
    return float(jnp.finfo(dtype).eps) > 1e-4


@functools.lru_cache(maxsize=1024)
def _column_of(sigma: Activation, dtype: str) -> np.ndarray | None:
    """The values of an activation whose literals are rounded to ``dtype``."""
    with jax.enable_x64(dtype == "float64"), np.errstate(all="ignore"):
        closed = jax.make_jaxpr(sigma.fn)(jax.ShapeDtypeStruct((), jnp.dtype(dtype)))
    try:
        return _values(program_of_jaxpr(closed.jaxpr, closed.consts))
    except UnsupportedPrimitiveError:
        return None


# --------------------------------------------------------- families with a parameter


def _left_slope(values: np.ndarray) -> float:
    return float(values[_at(-1.0)] / GRID[_at(-1.0)])


def _elu_scale(values: np.ndarray) -> float:
    return float(values[_at(-1.0)] / np.expm1(GRID[_at(-1.0)]))


def _swish_beta(values: np.ndarray) -> float:
    z = GRID[_at(0.1)]
    share = float(values[_at(0.1)] / z)  # the sigmoid of beta z
    return math.log(share / (1 - share)) / float(z) if 0 < share < 1 else math.nan


def _softplus_beta(values: np.ndarray) -> float:
    # the mean at +-z is log(2) / beta up to beta z^2 / 8
    mean = float(values[_SMALL] + values[_MINUS_SMALL]) / 2
    return math.log(2.0) / mean if mean > 0 else math.nan


def _squareplus_b(values: np.ndarray) -> float:
    # the values at +-z add up to sqrt(z^2 + b)
    total = float(values[_SMALL] + values[_MINUS_SMALL])
    return total**2 - float(GRID[_SMALL]) ** 2


def _repu_order(values: np.ndarray) -> float:
    here = float(values[_at(2.0)])
    return float(round(math.log(here) / math.log(GRID[_at(2.0)]))) if here > 0 else math.nan


_ESTIMATES: dict[str, Callable[[np.ndarray], float]] = {
    "leaky_relu": _left_slope,
    "elu": _elu_scale,
    "celu": lambda values: -float(values[0]),  # -alpha at -infinity
    "swish": _swish_beta,
    "softplus": _softplus_beta,
    "squareplus": _squareplus_b,
    "repu": _repu_order,
}


def _of_family(family: str, estimate: float, values: np.ndarray, dtype: str) -> Activation | None:
    if not math.isfinite(estimate):
        return None
    # A literal is a rounded decimal: take the shortest decimal that rounds to it.
    slack = max(2 * float(jnp.finfo(dtype).eps), 1e-9) * abs(estimate)
    for digits in range(1, 18):
        parameter = float(f"{estimate:.{digits}g}")
        if abs(parameter - estimate) <= slack:
            break
    else:
        return None
    try:
        member = activation(f"{family}({parameter!r})")
    except (UsageError, ArithmeticError):  # out of range, or of doubles' range
        return None
    distance = min(_distance(values, _column_of(member, kind)) for kind in _roundings(dtype))
    return member if distance <= _CLOSE else None
