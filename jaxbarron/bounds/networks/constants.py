"""Real arithmetic on known numbers, enclosed: centres and radii."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import flint
import numpy as np

from jaxbarron.balls.series import local_series, working_precision
from jaxbarron.balls.suprema import upper_float
from jaxbarron.bounds.networks.reading import Known, NoRule
from jaxbarron.programs import ARITY, Operation, Program, Register

__all__ = ["fold_reals"]

_BITS = 128
_MOST_BALLS = 1 << 20
_COMPARISONS = {"gt": np.greater, "ge": np.greater_equal, "lt": np.less, "le": np.less_equal,
                "eq": np.equal, "ne": np.not_equal}  # fmt: skip


def fold_reals(eqn: Any, operands: Sequence[Known]) -> list[Any]:
    """An equation on known reals, not all of which have to be exact."""
    name = eqn.primitive.name
    if name in _COMPARISONS:
        return [Known(_compared(name, *operands))]
    if name == "is_finite":
        (x,) = operands
        if not np.all(np.isfinite(_radius(x))):
            raise NoRule("is_finite: of a known number without a bound")
        return [Known(np.isfinite(x.value))]
    if name in ("add", "sub", "mul", "add_any"):
        return [_arithmetic(name, *operands)]
    if name == "reduce_sum":
        return [_sum(operands[0], eqn.params["axes"])]
    if name == "neg":
        return [Known(-operands[0].value, operands[0].radius)]
    if name in ARITY and all(x.is_real for x in operands):
        return [_by_balls(eqn, operands)]
    raise NoRule(f"{name}: no rule for known numbers")


def _radius(x: Known) -> Any:
    return np.zeros(x.shape) if x.radius is None else x.radius


def _compared(name: str, x: Known, y: Known) -> Any:
    """A comparison of reals; refused where the numbers are not known well enough to decide it."""
    compare = _COMPARISONS[name]
    if x.radius is None and y.radius is None:
        return compare(x.value, y.value)
    gap = np.abs(x.value - y.value)
    reach = (_radius(x) + _radius(y)) * (1 + 2.0**-50) + gap * 2.0**-52 + 2.0**-1000
    if not np.all(gap > reach):
        raise NoRule(f"{name}: of known numbers that rounding does not tell apart")
    return compare(x.value, y.value)


def _arithmetic(name: str, x: Known, y: Known) -> Known:
    a, b, r, s = x.value, y.value, _radius(x), _radius(y)
    if name == "mul":
        value, size = a * b, np.abs(a) * np.abs(b)
        radius = np.abs(a) * s + np.abs(b) * r + r * s
    else:
        value = a - b if name == "sub" else a + b
        size, radius = np.abs(a) + np.abs(b), r + s
    if not np.any(radius) and _is_exact(name, a, b, value):
        return Known(value)
    radius = radius * (1 + 2.0**-50) + size * 2.0**-52 + 2.0**-1000
    return Known(value, np.broadcast_to(radius, value.shape))


def _is_exact(name: str, a: Any, b: Any, value: Any) -> bool:
    """Sums by Knuth's error term; products where a factor is 0 or a power of two."""
    if name == "mul":
        simple = [np.isin(np.abs(np.frexp(x)[0]), (0.0, 0.5)) for x in (a, b)]
        normal = (value == 0) == ((a == 0) | (b == 0))
        return bool(np.all((simple[0] | simple[1]) & normal & ~(np.abs(value) < 2.0**-1000)
                           | (a == 0) | (b == 0)))  # fmt: skip
    b = -b if name == "sub" else b
    part = value - a
    error = (a - (value - part)) + (b - part)
    return bool(np.all(error == 0))


def _sum(x: Known, axes: Sequence[int]) -> Known:
    value = np.sum(x.value, axis=tuple(axes))
    count = math.prod(x.shape[k] for k in axes)
    size = np.sum(np.abs(x.value) + _radius(x), axis=tuple(axes))
    radius = np.sum(_radius(x), axis=tuple(axes)) + size * (2 * (count + 8) * 2.0**-53)
    return Known(value, np.asarray(radius * (1 + 2.0**-50) + 2.0**-1000))


def _by_balls(eqn: Any, operands: Sequence[Known]) -> Known:
    """Any scalar primitive, number by number, each distinct tuple of numbers once."""
    shape = tuple(eqn.outvars[0].aval.shape)
    columns: list[Any] = []
    for x in operands:
        columns += [np.broadcast_to(y, shape).reshape(-1) for y in (x.value, _radius(x))]
    rows, places = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    if len(rows) > _MOST_BALLS:
        raise NoRule(f"{eqn.primitive.name}: of {len(rows)} known numbers")
    values, radii = np.zeros(len(rows)), np.zeros(len(rows))
    with working_precision(_BITS, 4):
        for k, row in enumerate(rows):
            ball = _applied(eqn, row)
            if not ball.is_finite():
                raise NoRule(f"{eqn.primitive.name}: not finite at a known number")
            values[k] = float(ball.mid())
            radii[k] = upper_float(ball - flint.arb(values[k]))
    places = places.reshape(-1)
    radius = radii[places].reshape(shape)
    return Known(values[places].reshape(shape), radius if np.any(radius) else None)


def _applied(eqn: Any, row: Any) -> Any:
    """The primitive on balls: one operand is the variable, the others must be exact."""
    name = eqn.primitive.name
    pairs = [(float(row[k]), float(row[k + 1])) for k in range(0, len(row), 2)]
    if name == "div":
        top, below = (flint.arb(value, radius) for value, radius in pairs)
        return top / below
    free = next((k for k, (_, radius) in enumerate(pairs) if radius), 0)
    if any(radius for k, (_, radius) in enumerate(pairs) if k != free):
        raise NoRule(f"{name}: of two known numbers that are not exact")
    arguments: list[Any] = [Register(0) if k == free else value for k, (value, _) in
                            enumerate(pairs)]  # fmt: skip
    if name == "integer_pow":
        arguments.append(float(eqn.params["y"]))
    program = Program((Operation(name, tuple(arguments)),), Register(1))
    ball = flint.arb(*pairs[free])
    return local_series(program, flint.arb_series([ball, 1], prec=2), ball).coefficients[0]
