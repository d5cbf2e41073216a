"""Weights of kernel particles as piecewise polynomials with exact rational coefficients."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flint

from jaxbarron.balls.dyadic import exact
from jaxbarron.balls.suprema import upper_float

__all__ = ["Weight", "distance_weight", "evaluate", "reach_weight", "unit_weight"]


@dataclass(frozen=True)
class Weight:
    """A continuous, convex, positive piecewise polynomial.

    Attributes:
        breaks: where the polynomial changes, ascending dyadic rationals.
        polynomials: their coefficients, constant first; one more than breaks.
    """

    breaks: tuple[Any, ...]
    polynomials: tuple[tuple[Any, ...], ...]

    def polynomial_at(self, point: Any) -> tuple[Any, ...]:
        """The polynomial that holds just to the right of a rational point."""
        return self.polynomials[bisect.bisect_right(self.breaks, point)]

    def value(self, point: Any) -> Any:
        """The weight at a dyadic rational, as a ball."""
        return evaluate(self.polynomial_at(point), exact(point))

    def largest(self, start: Any, end: Any) -> float:
        """At least the weight anywhere between two dyadic rationals: convex, so at an end."""
        return max(upper_float(self.value(start)), upper_float(self.value(end)))


def unit_weight() -> Weight:
    """The weight 1."""
    return Weight((), ((flint.fmpq(1),),))


def reach_weight(s: int) -> Weight:
    """``max(1, |t|)**s``: the supremum over rho >= 0 of ``((rho + |t|) / (1 + rho))**s``."""
    if s == 0:
        return unit_weight()
    power = (*[flint.fmpq(0)] * s, flint.fmpq(1))
    mirrored = (*power[:s], flint.fmpq((-1) ** s))
    return Weight((flint.fmpq(-1), flint.fmpq(1)), (mirrored, (flint.fmpq(1),), power))


def distance_weight(base: Any, power: int, centre: Any) -> Weight:
    """``(base + |t - centre|)**power``, ``base >= 0`` and ``centre`` dyadic rationals."""
    if power == 0:
        return unit_weight()
    left, right = (
        tuple(
            math.comb(power, k) * (base - side * centre) ** (power - k) * side**k
            for k in range(power + 1)
        )
        for side in (-1, 1)
    )
    return Weight((centre,), (left, right))


def evaluate(polynomial: Sequence[Any], ball: Any) -> Any:
    """A polynomial, constant first, at a ball."""
    total = flint.arb(0)
    for coefficient in reversed(polynomial):
        total = total * ball + coefficient
    return total
