"""How far an evaluation in floating point can be from the real function, on a box.

THEORY.md, Theorem Evaluation error.  An interval of the real values and a bound of the error go
through the jaxpr together.  What a machine's exp or tanh is worth is no theorem: it is stated, in
:class:`Arithmetic`, and the level of what follows is ``"float"``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from jaxbarron.bounds.networks import rewrites
from jaxbarron.bounds.networks.arithmetic import (
    ABSOLUTE,
    FLOAT32,
    GROWTH,
    LARGEST,
    Arithmetic,
    products_unit,
)
from jaxbarron.bounds.networks.primitives import bound
from jaxbarron.bounds.networks.reading import NoRule, walked
from jaxbarron.bounds.networks.rewrites import NOTHING, Trail
from jaxbarron.bounds.networks.steps import LIPSCHITZ, MONOTONE, cell_errors
from jaxbarron.programs import INLINED_CALLS

__all__ = ["Enclosed", "EvaluationError", "evaluation_errors"]

_SLACK = 1 + 2.0**-30  # of our own double arithmetic, over sums of at most 2^20 terms
_TINY = 2.0**-125  # at most so much is lost where a number is flushed to zero, float32 or wider


@dataclass(frozen=True, eq=False)
class EvaluationError:
    """``|computed(x) - real(x)| <= upper``, number by number, for all floats x in a region.

    Attributes:
        upper: an array for each output; inf beyond ``ends_at``.
        arithmetic: what is assumed of the machine.
        level: ``"float"``: a theorem about an assumed arithmetic; ``"sampled"`` where it ends.
        ends_at: why some output has no bound; None if all have one.
    """

    upper: tuple[Any, ...]
    arithmetic: Arithmetic
    level: Literal["float", "sampled"]
    ends_at: str | None

    @property
    def largest(self) -> float:
        """The largest error of any output."""
        return float(max((np.max(x, initial=0.0) for x in self.upper), default=0.0))


@dataclass(frozen=True, eq=False)
class Enclosed:
    """Real values in ``[low, high]``; an evaluation is off by at most ``error``, entry by entry."""

    low: Any
    high: Any
    error: Any
    unit: float
    trail: Trail = NOTHING

    @property
    def size(self) -> Any:
        """Bounds of the moduli of real and of computed values."""
        return np.maximum(np.abs(self.low), np.abs(self.high)) + self.error


def evaluation_errors(
    closed: Any, inputs: Sequence[Any], arithmetic: Arithmetic
) -> tuple[list[Any], str | None]:
    """For each output a bound of the error, inf beyond a primitive without a rule; and which.

    Args:
        closed: a closed jaxpr.
        inputs: for each input an array, or a pair of arrays: the ends of its interval.
        arithmetic: what is assumed.
    """
    reader = _Reader(arithmetic)
    values = [_between(x) if isinstance(x, tuple) else _known(x) for x in inputs]
    ends_at: str | None = None
    found: list[Any] = []
    with np.errstate(all="ignore"):
        results = reader.run(closed.jaxpr, closed.consts, values)
    for var, x in zip(closed.jaxpr.outvars, results, strict=True):
        shape = var.aval.shape
        if isinstance(x, NoRule):
            ends_at = ends_at or str(x)
            found.append(np.full(shape, np.inf))
        elif isinstance(x, Enclosed):
            error = np.where(np.isfinite(x.error) & np.isfinite(x.size), x.error * _SLACK, np.inf)
            if not np.isfinite(error).all():
                ends_at = ends_at or "a value or an error that is not finite"
            found.append(np.broadcast_to(error, shape))
        else:
            found.append(np.zeros(shape))
    return found, ends_at


def _between(ends: tuple[Any, Any]) -> Enclosed:
    low, high = (np.asarray(x, np.float64) for x in ends)
    return Enclosed(low, high, np.zeros_like(low), 0.0)


def _known(x: Any) -> Any:
    array = np.asarray(x)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return array
    wide = array.astype(np.float64)
    return Enclosed(wide, wide, np.zeros_like(wide), 0.0, Trail(constant=True))


def _unit(aval: Any) -> float:
    units = {"float32": 2.0**-24, "float64": 2.0**-53}
    if aval.dtype.name not in units:
        raise NoRule(f"{aval.dtype.name}: only float32 and float64 have a rule")
    return units[aval.dtype.name]


class _Reader:
    def __init__(self, arithmetic: Arithmetic) -> None:
        self.arithmetic = arithmetic

    def run(self, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        return walked(jaxpr, consts, inputs, _known, self._apply)

    def _apply(self, eqn: Any, operands: list[Any]) -> list[Any]:
        name = eqn.primitive.name
        lost = next((x for x in operands if isinstance(x, NoRule)), None)
        if lost is not None:
            return [lost] * len(eqn.outvars)
        try:
            if name in INLINED_CALLS:
                body = eqn.params[INLINED_CALLS[name]]
                inner = getattr(body, "jaxpr", body)
                results = self.run(inner, getattr(body, "consts", ()), operands)
                if any(isinstance(x, NoRule) for x in results):
                    return [self._pieces(inner, operands, results)]
                return results
            return self._equation(eqn, operands)
        except NoRule as reason:
            return [reason] * len(eqn.outvars)

    def _pieces(self, body: Any, operands: list[Any], results: list[Any]) -> Any:
        """A scalar function with cases, as a call: a spline is decided cell by cell."""
        if len(operands) != 1 or len(results) != 1 or not isinstance(operands[0], Enclosed):
            raise next(x for x in results if isinstance(x, NoRule))
        x = operands[0]
        cells = cell_errors(body, float(np.min(x.low - x.error)), float(np.max(x.high + x.error)))
        low, high, error, steep = cells.over(x.low - x.error, x.high + x.error)
        return Enclosed(low - error, high + error, error + steep * x.error, 2.0**-24)

    def _equation(self, eqn: Any, operands: list[Any]) -> list[Any]:
        name, out = eqn.primitive.name, eqn.outvars[0].aval
        if all(not isinstance(x, Enclosed) for x in operands):
            results = bound(eqn, operands)
            return [_known(np.asarray(x)) for x in results]
        if name == "ne" and len(eqn.invars) == 2 and eqn.invars[0] is eqn.invars[1]:
            return [np.zeros(out.shape, bool)]  # whether a number is a NaN: none is
        if name in _MOVES:
            return _move(eqn, operands)
        if name not in _RULES and name not in MONOTONE and name not in LIPSCHITZ:
            raise NoRule(f"{name}: no rule for its error")
        if any(not isinstance(x, Enclosed) for x in operands):
            raise NoRule(f"{name}: of whole numbers and reals")
        unit = _unit(out)
        if name in MONOTONE or name in LIPSCHITZ:
            return [_within_range(self._function(name, operands[0], unit))]
        found = _within_range(_RULES[name](self, eqn, operands, unit))
        if all(x.trail.constant for x in operands):
            found = replace(found, trail=Trail(constant=True))
        return [found]

    def _function(self, name: str, x: Enclosed, unit: float) -> Enclosed:
        if name not in self.arithmetic.ulps:
            raise NoRule(f"{name}: nothing is assumed of its evaluation")
        if name in MONOTONE:
            function, steepest = MONOTONE[name]
            ends = function(x.low), function(x.high)
            low, high = np.minimum(*ends), np.maximum(*ends)
            wide = 2.0**-40 * np.maximum(np.abs(low), np.abs(high))
            low, high = low - wide, high + wide
            steep = steepest(x.low - x.error, x.high + x.error) * _SLACK
        else:
            low, high, steep = -np.ones_like(x.low), np.ones_like(x.low), 1.0
        moved = steep * x.error
        size = np.maximum(np.abs(low), np.abs(high)) + moved
        size = np.ones_like(size) if name in ABSOLUTE else size
        ulps = self.arithmetic.ulps[name]
        if name in GROWTH:
            ulps = ulps + (np.maximum(np.abs(x.low), np.abs(x.high)) + x.error) ** GROWTH[name]
        own = ulps * 2 * unit * size + _TINY
        exponent = float(np.max(np.maximum(np.abs(x.low), np.abs(x.high)) + x.error, initial=0.0))
        trail = Trail(x.trail.constant, exponent=exponent if name == "exp" else 0.0)
        return Enclosed(low, high, moved + own, unit, trail)


# ------------------------------------------------------------------------ rules

_MOVES = ("broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "slice", "rev",
          "concatenate", "pad", "select_n", "gather", "dynamic_slice", "dynamic_update_slice",
          "split", "stack", "tile", "copy", "copy_p", "stop_gradient",
          "optimization_barrier")  # fmt: skip
Rule = Callable[[_Reader, Any, list[Any], float], Enclosed]


def _within_range(x: Enclosed, size: Any = None) -> Enclosed:
    """No bound where ``size``, the computed values' if None, leaves the range of the format."""
    most = LARGEST if x.unit == FLOAT32 else math.inf
    over = (x.size if size is None else size) > most
    return replace(x, error=np.where(over, np.inf, x.error)) if np.any(over) else x


def _move(eqn: Any, operands: list[Any]) -> list[Any]:
    if eqn.params.get("fill_value") is not None:
        raise NoRule(f"{eqn.primitive.name}: a fill value")
    if eqn.primitive.name == "select_n" and isinstance(operands[0], Enclosed):
        raise NoRule("select_n: a choice that depends on the input")
    parts = [
        bound(eqn, [getattr(x, part) if isinstance(x, Enclosed) else x for x in operands])
        for part in ("low", "high", "error")
    ]
    unit = max(x.unit for x in operands if isinstance(x, Enclosed))
    trail = rewrites.merged([x.trail for x in operands if isinstance(x, Enclosed)])
    return [
        Enclosed(np.asarray(low), np.asarray(high), np.asarray(error), unit, trail)
        for low, high, error in zip(*parts, strict=True)
    ]


def _rounded(
    low: Any, high: Any, error: Any, unit: float, extra: Any = 0.0, trail: Trail | None = None
) -> Enclosed:
    """One rounded operation: ``extra`` bounds further terms relative to which it is rounded."""
    wide = 2.0**-40 * (np.maximum(np.abs(low), np.abs(high)) + extra)
    low, high = low - wide, high + wide
    size = np.maximum(np.abs(low), np.abs(high)) + error
    return Enclosed(low, high, error + unit * size + _TINY, unit, trail or NOTHING)


def _convert(reader: _Reader, eqn: Any, operands: list[Any], unit: float) -> Enclosed:
    del reader
    (x,) = operands
    narrow = unit > _unit(eqn.invars[0].aval)
    return _rounded(x.low, x.high, x.error, unit) if narrow else x


def _sum(reader: _Reader, eqn: Any, operands: list[Any], unit: float) -> Enclosed:
    del reader
    x, y = operands
    other = (-y.high, -y.low) if eqn.primitive.name == "sub" else (y.low, y.high)
    more, trail = rewrites.shifted(x, y, unit)
    error = x.error + y.error + more
    return _rounded(x.low + other[0], x.high + other[1], error, unit, x.size + y.size, trail)


def _negative(reader: _Reader, eqn: Any, operands: list[Any], unit: float) -> Enclosed:
    del reader, eqn
    (x,) = operands
    return Enclosed(-x.high, -x.low, x.error, unit, x.trail)


def _modulus(reader: _Reader, eqn: Any, operands: list[Any], unit: float) -> Enclosed:
    del reader, eqn
    (x,) = operands
    low = np.maximum(np.maximum(x.low, -x.high), 0.0)
    return Enclosed(low, np.maximum(np.abs(x.low), np.abs(x.high)), x.error, unit)


def _hull(parts: Sequence[Any]) -> tuple[Any, Any]:
    return np.minimum.reduce(np.broadcast_arrays(*parts)), np.maximum.reduce(
        np.broadcast_arrays(*parts)
    )


def _product(reader: _Reader, eqn: Any, operands: list[Any], unit: float) -> Enclosed:
    del reader, eqn
    x, y = operands
    low, high = _hull([a * b for a in (x.low, x.high) for b in (y.low, y.high)])
    error = (x.size - x.error) * y.error + (y.size - y.error) * x.error + x.error * y.error
    size = np.maximum(np.abs(low), np.abs(high)) + error
    more, trail = rewrites.product(x, y, size, unit)
    return _rounded(low, high, error + more, unit, trail=trail)


def _quotient(reader: _Reader, eqn: Any, operands: list[Any], unit: float) -> Enclosed:
    del reader, eqn
    x, y = operands
    least = np.where(y.low > 0, y.low, -y.high) - y.error
    if not np.all(least > 0):
        raise NoRule("div: by a number that may be zero")
    low, high = _hull([a / b for a in (x.low, x.high) for b in (y.low, y.high)])
    size = np.maximum(np.abs(low), np.abs(high))
    error = (x.error + size * y.error) / least
    more, trail = rewrites.quotient(x, y, size + error, unit)
    return _rounded(low, high, error + more, unit, trail=trail)


def _power(reader: _Reader, eqn: Any, operands: list[Any], unit: float) -> Enclosed:
    del reader
    (x,) = operands
    n = 2 if eqn.primitive.name == "square" else eqn.params["y"]
    if n < 1:
        raise NoRule("integer_pow: of a negative exponent")
    low, high = _hull([x.low**n, x.high**n])
    if n % 2 == 0:
        low = np.where((x.low < 0) & (x.high > 0), 0.0, low)
    error = n * x.size ** (n - 1) * x.error
    # repeated products, in any order: each number goes through fewer than n roundings
    size = np.maximum(np.abs(low), np.abs(high)) + error
    more, trail = rewrites.power(x, n, size, unit)
    found = _rounded(low, high, error + more, (n - 1) * unit * (1 + n * unit), trail=trail)
    return replace(found, unit=unit)


def _extreme(reader: _Reader, eqn: Any, operands: list[Any], unit: float) -> Enclosed:
    del reader
    pick = np.maximum if eqn.primitive.name == "max" else np.minimum
    x, y = operands
    return Enclosed(pick(x.low, y.low), pick(x.high, y.high), np.maximum(x.error, y.error), unit)


def _clamp(reader: _Reader, eqn: Any, operands: list[Any], unit: float) -> Enclosed:
    del reader, eqn
    least, x, most = operands
    low = np.minimum(np.maximum(x.low, least.low), most.low)
    high = np.minimum(np.maximum(x.high, least.high), most.high)
    error = np.maximum(np.maximum(x.error, least.error), most.error)
    return Enclosed(low, high, error, unit)


def _reduced(reader: _Reader, eqn: Any, operands: list[Any], unit: float) -> Enclosed:
    del reader
    (x,) = operands
    axes = tuple(eqn.params["axes"])
    if eqn.primitive.name != "reduce_sum":
        pick = np.max if eqn.primitive.name == "reduce_max" else np.min
        return Enclosed(pick(x.low, axes), pick(x.high, axes), np.max(x.error, axes), unit)
    terms = math.prod(x.low.shape[k] for k in axes)
    size = np.sum(x.size, axes)
    wide = 2.0**-30 * size
    error = np.sum(x.error, axes) + _gamma(terms, unit) * size + terms * _TINY
    found = Enclosed(np.sum(x.low, axes) - wide, np.sum(x.high, axes) + wide, error, unit)
    return _within_range(found, size)  # a part of the sum may be larger than all of it


def _gamma(n: int, unit: float) -> float:
    if n * unit >= 0.5:
        raise NoRule(f"a sum of {n} terms: too many for its precision")
    return n * unit / (1 - n * unit)


def _matrix(reader: _Reader, eqn: Any, operands: list[Any], unit: float) -> Enclosed:
    """Products and convolutions: sums of n products in any order, fused or not."""
    x, y = operands
    middle = [(v.low + v.high) / 2 for v in operands]
    half = [(v.high - v.low) / 2 * _SLACK for v in operands]
    sizes = [v.size for v in operands]

    def times(a: Any, b: Any) -> Any:
        return np.asarray(bound(eqn, [a, b])[0])

    terms = _terms(eqn)
    size = times(*sizes)
    centre = times(*middle)
    away = times(np.abs(middle[0]) + half[0], half[1]) + times(half[0], np.abs(middle[1]))
    away = away * _SLACK + 2.0**-30 * size
    error = times(sizes[0], y.error) + times(x.error, sizes[1])
    if eqn.primitive.name == "conv_general_dilated" and not reader.arithmetic.direct:
        raise NoRule("conv_general_dilated: this device may compute it by transforms")
    factors = products_unit(reader.arithmetic, eqn.params["precision"], unit)
    rounding = _gamma(terms, unit)
    if factors > unit:
        rounding = rounding + 2 * factors + factors**2
    error = error + rounding * size * (1 + 4 * factors) + terms * _TINY
    return _within_range(Enclosed(centre - away, centre + away, error, unit), size)


def _terms(eqn: Any) -> int:
    left, right = (v.aval.shape for v in eqn.invars)
    if eqn.primitive.name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        return max(1, math.prod(left[k] for k in contracted))
    out = eqn.params["dimension_numbers"].rhs_spec[0]
    return max(1, math.prod(right) // max(right[out], 1))


_RULES: dict[str, Rule] = {
    "convert_element_type": _convert, "add": _sum, "sub": _sum, "add_any": _sum, "mul": _product,
    "neg": _negative, "abs": _modulus, "div": _quotient, "square": _power, "integer_pow": _power,
    "max": _extreme, "min": _extreme, "clamp": _clamp, "reduce_sum": _reduced,
    "reduce_max": _reduced, "reduce_min": _reduced, "dot_general": _matrix,
    "conv_general_dilated": _matrix,
}  # fmt: skip
