"""What a compiler may make of a program in floating point: other operations, other roundings.

XLA folds constants together and merges quotients and exponentials: ``(x + a) + b`` becomes
``x + (a + b)``, ``x / c`` becomes ``x * (1 / c)``, ``exp(x) * exp(y)`` becomes ``exp(x + y)``.  In
real arithmetic nothing changes; what changes in floating point is bounded here (THEORY.md, Theorem
Evaluation error), so that the bounds hold with and without ``jax.jit``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxbarron.bounds.networks.reading import NoRule

__all__ = ["NOTHING", "Trail", "merged", "power", "product", "quotient", "shifted"]

_TINY = 2.0**-125
_HUGE = 2.0**127
_SLACK = 1 + 2.0**-20


@dataclass(frozen=True)
class Trail:
    """What of an array's making a compiler may take up again; numbers bound all its entries.

    Attributes:
        constant: it does not depend on the input.
        added: the sum of the moduli of the constants added to it; 0: none.
        factor: the product of ``max(1, |c|)`` over the constants c that it was multiplied with.
        base: a bound of the modulus of what they multiply; 0 where there are none.
        exponent: a bound of |z| where it is exp(z); 0 where it is none.
        quotient: of the top and the bottom of a quotient the least and the largest modulus.
    """

    constant: bool = False
    added: float = 0.0
    factor: float = 1.0
    base: float = 0.0
    exponent: float = 0.0
    quotient: tuple[float, float, float, float] | None = None


NOTHING = Trail()


def merged(trails: Sequence[Trail]) -> Trail:
    """Of an array whose entries are entries of others."""
    quotients = [x.quotient for x in trails if x.quotient is not None]
    quotient = None
    if quotients:
        a, b, c, d = zip(*quotients, strict=True)
        quotient = min(a), max(b), min(c), max(d)
    return Trail(
        all(x.constant for x in trails),
        max(x.added for x in trails),
        max(x.factor for x in trails),
        max(x.base for x in trails),
        max(x.exponent for x in trails),
        quotient,
    )


def shifted(x: Any, y: Any, unit: float) -> tuple[Any, Trail]:
    """Of a sum: the constants of a chain of sums may be added to each other first."""
    first, second = x.trail, y.trail
    if first.constant and second.constant:
        return 0.0, Trail(constant=True)
    own = [_most(v) if v.trail.constant else v.trail.added for v in (x, y)]
    added = sum(own)
    if all(own) and added >= _HUGE:
        raise NoRule("add: of constants that may overflow where they are combined")
    return (unit * added * _SLACK if all(own) else 0.0), Trail(added=added)


def product(x: Any, y: Any, size: Any, unit: float) -> tuple[Any, Trail]:
    """Of a product of modulus ``size``: constants are multiplied first, exponents are added."""
    first, second = x.trail, y.trail
    if first.constant and second.constant:
        return 0.0, Trail(constant=True)
    if first.constant:
        x, first, y, second = y, second, x, first
    extra = _exponents(first.exponent, second.exponent, size, unit)
    exponent = first.exponent + second.exponent
    if second.constant:
        return _factor(x, max(1.0, _most(y)), extra, replace(first, added=0.0, exponent=exponent))
    if not (first.base or second.base):
        return extra, Trail(exponent=exponent)
    base = (first.base or _most(x)) * (second.base or _most(y))
    factor = first.factor * second.factor
    if base * factor >= _HUGE:
        raise NoRule("mul: of multiples that may overflow where they are combined")
    return extra + factor * (1 + base) * _TINY, Trail(factor=factor, base=base, exponent=exponent)


def _factor(x: Any, factor: float, extra: Any, trail: Trail) -> tuple[Any, Trail]:
    """x times a constant, ``factor`` at least 1 and its modulus."""
    whole, base = trail.factor * factor, trail.base or _most(x)
    if trail.base:
        if whole >= _HUGE:
            raise NoRule("mul: by constants that overflow where they are combined")
        extra = extra + base * whole * _TINY
    quotient = None
    if trail.quotient is not None:
        _, most, *bottom = trail.quotient
        quotient = 0.0, most * factor, bottom[0], bottom[1]
    return extra, replace(trail, factor=whole, base=base, quotient=quotient)


def power(x: Any, n: int, size: Any, unit: float) -> tuple[Any, Trail]:
    """Of a whole power, which is repeated products."""
    trail = x.trail
    if n == 1 or trail.constant:
        return 0.0, trail
    base, factor = trail.base**n, trail.factor**n
    if trail.base and max(base, 1.0) * factor >= _HUGE:
        raise NoRule("integer_pow: of a multiple that may overflow where it is expanded")
    extra = n * _exponents((n - 1) * trail.exponent, trail.exponent, size, unit)
    if trail.base:
        extra = extra + n * factor * max(base, 1.0) * _TINY
    return extra, Trail(exponent=n * trail.exponent, factor=factor, base=base)


def quotient(x: Any, y: Any, size: Any, unit: float) -> tuple[Any, Trail]:
    """Of a quotient: a product with a rounded inverse; quotients of quotients are merged."""
    first, second = x.trail, y.trail
    if first.constant and second.constant:
        return 0.0, Trail(constant=True)
    # an inverse below the normal range is flushed to zero
    extra = (2 * unit + 2 * unit * unit) * size + _most(x) * _TINY
    extra = extra + _exponents(first.exponent, second.exponent, size, unit)
    exponent = first.exponent + second.exponent
    low, high = _least(y), _most(y)
    top = first.quotient or (_least(x), _most(x), 1.0, 1.0)
    bottom = second.quotient or (low, high, 1.0, 1.0)
    # (a / b) / (c / d) = a d / (b c)
    if second.quotient is not None:
        bottom = (low * bottom[2], *bottom[1:])
    whole = top[0] * bottom[2], top[1] * bottom[3], top[2] * bottom[0], top[3] * bottom[1]
    if first.quotient or second.quotient or first.base or second.base:
        factors = first.factor * second.factor
        if not (max(whole[1], whole[3]) * factors < _HUGE and whole[2] > _TINY * factors):
            raise NoRule("div: of quotients that may overflow where they are merged")
        extra = extra + factors * _TINY * (1 + 1 / whole[2])
    trail = Trail(exponent=exponent, quotient=whole)
    if second.constant:
        return _factor(x, max(1.0, 1 / low), extra, replace(trail, base=first.base,
                                                            factor=first.factor))  # fmt: skip
    return extra, trail


def _exponents(first: float, second: float, size: Any, unit: float) -> Any:
    """exp(a) exp(b) as exp(a + b): the sum is rounded."""
    if not (first and second):
        return 0.0
    off = unit * (first + second) * _SLACK
    return size * off * (1 + off) if off < 1 else np.full(np.shape(size), np.inf)


def _most(x: Any) -> float:
    return float(np.max(x.size, initial=0.0))


def _least(x: Any) -> float:
    inside = np.maximum(np.maximum(x.low, -x.high), 0.0)
    return float(np.min(np.maximum(inside - x.error, 0.0), initial=np.inf))
