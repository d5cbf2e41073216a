"""Scalar functions in floating point: how steep they are, and splines cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.extend.core as jex
import numpy as np
import scipy.special

from jaxbarron.bounds.networks.arithmetic import LARGEST
from jaxbarron.bounds.networks.reading import NoRule
from jaxbarron.programs import INLINED_CALLS

__all__ = ["LIPSCHITZ", "MONOTONE", "Cells", "cell_errors"]

Array = Any
_UNIT = 2.0**-24
_TINY = 2.0**-125
_HUGE = 2.0**127
_LARGEST_CONSTANT = 2.0**100  # no sum of such constants overflows


def _nearest(low: Array, high: Array) -> Array:
    """The point of the interval nearest to 0."""
    return np.where((low <= 0) & (high >= 0), 0.0, np.minimum(np.abs(low), np.abs(high)))


def _farthest(low: Array, high: Array) -> Array:
    return np.maximum(np.abs(low), np.abs(high))


def _left(slope: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda low, high: np.where(low > 0, slope(low) + 0 * high, np.inf)


def _log1p_slope(low: Array, high: Array) -> Array:
    return np.where(low > -1, 1 / (1 + low) + 0 * high, np.inf)


def _logistic(z: Array) -> Array:
    return 0.5 * (1 + np.tanh(z / 2))


# Each function, and the largest modulus of its derivative on an interval.
MONOTONE: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "exp": (np.exp, lambda low, high: np.exp(high) + 0 * low),
    "exp2": (np.exp2, lambda low, high: np.exp2(high) + 0 * low),
    "expm1": (np.expm1, lambda low, high: np.exp(high) + 0 * low),
    "log": (np.log, _left(lambda z: 1 / z)),
    "log1p": (np.log1p, _log1p_slope),
    "sqrt": (np.sqrt, _left(lambda z: 0.5 / np.sqrt(z))),
    "rsqrt": (lambda z: 1 / np.sqrt(z), _left(lambda z: 0.5 / (z * np.sqrt(z)))),
    "tanh": (np.tanh, lambda low, high: 1 - np.tanh(_nearest(low, high)) ** 2 + 1e-15),
    "logistic": (_logistic, lambda low, high: 0.25 * (1 - np.tanh(_nearest(low, high) / 2) ** 2)
                 + 1e-15),
    "erf": (scipy.special.erf, lambda low, high: 1.1284 * np.exp(-(_nearest(low, high) ** 2))),
    "erfc": (scipy.special.erfc, lambda low, high: 1.1284 * np.exp(-(_nearest(low, high) ** 2))),
    "atan": (np.arctan, lambda low, high: 1 / (1 + _nearest(low, high) ** 2)),
    "asinh": (np.arcsinh, lambda low, high: 1 / np.sqrt(1 + _nearest(low, high) ** 2)),
    "sinh": (np.sinh, lambda low, high: np.cosh(_farthest(low, high))),
}  # fmt: skip
LIPSCHITZ = ("sin", "cos")


@dataclass(frozen=True, eq=False)
class Cells:
    """A scalar function on cells between ``edges``: values, error at a float, steepness."""

    edges: Any
    low: Any
    high: Any
    error: Any
    steep: Any

    def over(self, low: Any, high: Any) -> tuple[Any, Any, Any, Any]:
        """The same on each interval: the hull and the maxima over the cells that it meets."""
        last = len(self.low) - 1
        first = np.clip(np.searchsorted(self.edges, low, side="left") - 1, 0, last)
        final = np.clip(np.searchsorted(self.edges, high, side="right") - 1, first, last)
        found = [np.full(np.shape(low), np.inf), *(np.full(np.shape(low), -np.inf),) * 3]
        for k in range(last + 1):
            here = (first <= k) & (k <= final)
            found[0] = np.where(here, np.minimum(found[0], self.low[k]), found[0])
            for at, column in enumerate((self.high, self.error, self.steep), start=1):
                found[at] = np.where(here, np.maximum(found[at], column[k]), found[at])
        return found[0], found[1], found[2], found[3]


def cell_errors(body: Any, lower: float, upper: float) -> Cells:
    """A scalar call with comparisons against constants, cell by cell (Theorem Evaluation error).

    Raises:
        NoRule: another primitive, or a choice that a cell does not decide.
    """
    # a threshold at the very end decides there too
    lower, upper = float(np.nextafter(lower, -np.inf)), float(np.nextafter(upper, np.inf))
    cuts = sorted({c for c in _thresholds(body) if lower < c < upper})
    edges = np.array([lower, *cuts, upper])
    left, right = edges[:-1], edges[1:]
    none = np.zeros_like(left)
    start = _Number(left, right, none, np.ones_like(left))
    (result,) = _run(body, [start])
    if not isinstance(result, _Number):
        raise NoRule("a choice that depends on the input")
    steep = result.steep
    # a threshold is rounded too: beside it the neighbour's polynomial may stand
    beside = np.maximum(np.append(steep[1:], 0.0), np.append(0.0, steep[:-1])) + steep
    shift = 4 * _UNIT * np.maximum(np.abs(left), np.abs(right)) if len(cuts) else none
    error = result.error + beside * shift
    _check_meeting(body, edges[1:-1], error)
    return Cells(edges, result.low, result.high, error, steep * (1 + 2.0**-20))


def _check_meeting(body: Any, cuts: Any, error: Any) -> None:
    """What stands on both sides of each threshold has one value there, but for its errors.

    Else the function jumps, or has a whole piece between two neighbouring floats.
    """
    near = 4 * _UNIT * np.abs(cuts) + 2.0**-125
    below, above = (
        _run(body, [_Number(x, y, np.zeros_like(cuts), np.ones_like(cuts))])[0]
        for x, y in ((cuts - near, cuts), (cuts, cuts + near))
    )
    apart = np.maximum(above.low - below.high, below.low - above.high)
    if not np.all(apart <= error[:-1] + error[1:]):
        raise NoRule("a choice that depends on the input, of values that do not meet")


@dataclass(frozen=True, eq=False)
class _Number:
    """On each cell: an interval, the error of its evaluation, the largest slope in modulus.

    ``factor`` is the product of ``max(1, |c|)`` over the constants c that a number of a modulus up
    to ``base`` was multiplied with; a compiler may multiply them first.
    """

    low: Any
    high: Any
    error: Any
    steep: Any
    factor: float = 1.0
    base: float = 0.0

    @property
    def size(self) -> Any:
        return np.maximum(np.abs(self.low), np.abs(self.high)) + self.error


def _constant(value: Any) -> _Number:
    number = np.float64(np.asarray(value).reshape(-1)[0])
    # the float is what the exact coefficient was rounded to
    return _Number(number, number, 2 * _UNIT * np.abs(number), np.float64(0.0))


def _thresholds(body: Any) -> list[float]:
    found: list[float] = []
    for eqn in body.eqns:
        name = eqn.primitive.name
        if name in INLINED_CALLS:
            inner = eqn.params[INLINED_CALLS[name]]
            found += _thresholds(getattr(inner, "jaxpr", inner))
        elif name in ("gt", "ge", "lt", "le"):
            found += [float(x.val) for x in eqn.invars if isinstance(x, jex.Literal)]
    return found


def _run(body: Any, inputs: list[Any]) -> list[Any]:
    if body.constvars:
        raise NoRule("a choice that depends on the input, with arrays of constants")
    values = dict(zip(body.invars, inputs, strict=True))

    def read(atom: Any) -> Any:
        return _constant(atom.val) if isinstance(atom, jex.Literal) else values[atom]

    for eqn in body.eqns:
        name, operands = eqn.primitive.name, [read(x) for x in eqn.invars]
        if name in INLINED_CALLS:
            inner = eqn.params[INLINED_CALLS[name]]
            if getattr(inner, "consts", ()):
                raise NoRule("a choice that depends on the input, with arrays of constants")
            results = _run(getattr(inner, "jaxpr", inner), operands)
        else:
            results = [_step(name, eqn, operands)]
        values.update(zip(eqn.outvars, results, strict=True))
    return [read(x) for x in body.outvars]


def _step(name: str, eqn: Any, x: list[Any]) -> Any:
    if name in ("broadcast_in_dim", "convert_element_type", "copy", "copy_p", "stop_gradient"):
        if eqn.outvars[0].aval.dtype.name != "float32":
            raise NoRule(f"a choice that depends on the input, in {eqn.outvars[0].aval.dtype.name}")
        return x[0]
    if name in ("gt", "ge", "lt", "le"):
        a, b = (x[0], x[1]) if name in ("gt", "ge") else (x[1], x[0])
        above, below = np.all(a.steep == 0), np.all(b.steep == 0)
        if not (above or below):
            raise NoRule(f"{name}: of two numbers that depend on the input")
        middle = (a.low + a.high) / 2 > (b.low + b.high) / 2
        decided = np.where(middle, a.low >= b.high, a.high <= b.low)
        if not np.all(decided):
            raise NoRule(f"{name}: a choice that depends on the input")
        return middle
    if name == "select_n" and len(x) == 3 and not isinstance(x[0], _Number):
        fields = ("low", "high", "error", "steep")
        return _Number(*(np.where(x[0], getattr(x[2], f), getattr(x[1], f)) for f in fields))
    if name in ("max", "min") and all(isinstance(v, _Number) for v in x):
        pick = np.maximum if name == "max" else np.minimum
        low, high = pick(x[0].low, x[1].low), pick(x[0].high, x[1].high)
        taken = [(v.high >= low) if name == "max" else (v.low <= high) for v in x]
        error, steep = (
            np.maximum(*(np.where(t, getattr(v, f), 0.0) for t, v in zip(taken, x, strict=True)))
            for f in ("error", "steep")
        )
        return _Number(low, high, error, steep)
    if name in ("add", "sub", "mul") and all(isinstance(v, _Number) for v in x):
        return _arithmetic(name, *x)
    if name == "neg":
        return replace(x[0], low=-x[0].high, high=-x[0].low)
    raise NoRule(f"{name}: no rule beside a choice that depends on the input")


def _arithmetic(name: str, a: _Number, b: _Number) -> _Number:
    sizes = a.size - a.error, b.size - b.error
    factor, base, more = 1.0, 0.0, 0.0
    if name == "mul":
        ends = np.broadcast_arrays(a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high)
        low, high = np.minimum.reduce(ends), np.maximum.reduce(ends)
        error = sizes[0] * b.error + sizes[1] * a.error + a.error * b.error
        steep = sizes[0] * b.steep + sizes[1] * a.steep
        factor, base, more = _chain(a, b)
    else:
        for v in (a, b):
            if np.all(v.steep == 0) and not np.all(v.size <= _LARGEST_CONSTANT):
                raise NoRule(f"{name}: of constants that may overflow where they are combined")
        other = (b.low, b.high) if name == "add" else (-b.high, -b.low)
        low, high = a.low + other[0], a.high + other[1]
        error, steep = a.error + b.error, a.steep + b.steep
    size = np.maximum(np.abs(low), np.abs(high))
    error = error + _UNIT * (size + error) * 1.01 + _TINY + more
    if not np.all(size + error <= LARGEST):
        raise NoRule(f"{name}: may overflow beside a choice that depends on the input")
    return _Number(low - 2.0**-40 * size, high + 2.0**-40 * size, error, steep, factor, base)


def _chain(a: _Number, b: _Number) -> tuple[float, float, float]:
    """Of a product: its constants' factor, what they multiply, and what is flushed beside it."""
    constants = [bool(np.all(v.steep == 0)) for v in (a, b)]
    if all(constants):
        return 1.0, 0.0, 0.0
    factor, base = 1.0, 1.0
    for v, constant in zip((a, b), constants, strict=True):
        most = float(np.max(v.size))
        factor *= max(1.0, most) if constant else v.factor
        base *= 1.0 if constant else v.base or most
    if not (a.base or b.base):
        return factor, base if any(constants) else 0.0, 0.0
    if not max(base, 1.0) * factor < _HUGE:
        raise NoRule("mul: by constants that may overflow where they are combined")
    return factor, base, max(base, 1.0) * factor * _TINY
