"""One run of a program over ball series: its notes, and tools for the rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flint

__all__ = [
    "NAN",
    "Run",
    "from_derivative",
    "hull",
    "inverse",
    "is_constant",
    "is_wide",
    "not_a_number",
    "series_of",
    "through_ends",
    "through_ends_of_modulus",
    "with_constant",
]

NAN = flint.arb("nan")
_WIDE = flint.arb(2) ** -20


class Run:
    """What the rules note during one run."""

    __slots__ = ("length", "open_ends", "point", "smooth")

    def __init__(self, length: int, point: bool) -> None:
        self.length = length
        self.point = point
        self.smooth = True
        self.open_ends = False


def series_of(run: Run, coefficients: list[Any]) -> Any:
    """The series with these coefficients, zeros beyond, of the run's length."""
    return flint.arb_series(coefficients, prec=run.length)


def not_a_number(run: Run) -> Any:
    """Nothing is known: outside the domain, or too near its edge."""
    return series_of(run, [NAN] * run.length)


def with_constant(run: Run, series: Any, constant: Any) -> Any:
    """The series with a sharper enclosure of its value."""
    coefficients = series.coeffs()[: run.length] or [constant]
    coefficients[0] = constant
    return series_of(run, coefficients)


def is_wide(ball: Any) -> bool:
    """Whether a range through the ends is worth its cost."""
    return not ball.rad() <= _WIDE


def through_ends(function: Callable[[Any], Any], ball: Any) -> Any:
    """The range of a monotone function: sharp for wide balls, where Arb's own rules are not."""
    if not is_wide(ball):
        return function(ball)
    return function(ball.lower()).union(function(ball.upper()))


def through_ends_of_modulus(function: Callable[[Any], Any], ball: Any) -> Any:
    """The range of an even function that is monotone on [0, inf)."""
    if not is_wide(ball) and not ball.contains(0):
        return function(ball)
    return function(ball.abs_lower()).union(function(ball.abs_upper()))


def hull(run: Run, first: Any, second: Any) -> Any:
    """Both branches at once: true of values and derivatives, not of Taylor's formula."""
    run.smooth = False
    return series_of(run, [first[k].union(second[k]) for k in range(run.length)])


def from_derivative(run: Run, constant: Any, derivative: Any, inner: Any) -> Any:
    """The series of F(u) from F(u_0) and the series of F'(u): integrate F'(u) u'."""
    if run.length == 1:
        return series_of(run, [constant])
    return with_constant(run, (derivative * inner.derivative()).integral(), constant)


def inverse(run: Run, u: Any) -> Any:
    """1 / u; not a number where u may vanish."""
    if u[0].contains(0) or not u[0].is_finite():
        return not_a_number(run)
    return 1 / flint.arb_series(u.coeffs(), prec=run.length)


def is_constant(u: Any) -> bool:
    """Whether all higher coefficients are exactly zero."""
    return all(c.is_zero() for c in u.coeffs()[1:])
