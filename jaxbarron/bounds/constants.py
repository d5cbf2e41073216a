"""Closed forms for what the Taylor kernel costs: enclosures of T_s and its kin.

D = sigma^(s+1) is a density plus atoms at kinks.  Its integrals against the weights of RePU_s
particles are finite sums of values of sigma and its derivatives (THEORY.md, Theorem Antiderivative,
Theorem Taylor cost); no quadrature is involved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import flint

from jaxbarron.activations import Activation, activation
from jaxbarron.balls.roots import inner_ball
from jaxbarron.balls.series import local_series, working_precision
from jaxbarron.balls.suprema import lower_float, upper_float
from jaxbarron.balls.weights import Weight, distance_weight, reach_weight, unit_weight
from jaxbarron.bounds.density import (
    BITS,
    SERIES,
    Constant,
    atom,
    integral,
    jumps_of,
    rational,
)
from jaxbarron.bounds.polynomial_cost import polynomial_cost
from jaxbarron.errors import DomainError, UsageError

__all__ = [
    "Constant",
    "absolute_moment",
    "checked_power",
    "density_moment",
    "density_part",
    "density_term",
    "moment_between",
    "polynomial_cost",
    "polynomial_part",
    "taylor_constant",
    "variation_constant",
    "weighted_moment",
]

_LARGEST_ORDER = 16


Source = str | Activation | Callable[[Any], Any]


def taylor_constant(source: Source, s: int, *, reach: float | None = None) -> Constant:
    """``T_s = 1/s! int max(1, |t|)^s |D(t)| dt``, what sigma's Taylor kernel costs on every reach.

    For a particle of any reach rho the kernel without its polynomial part has the norm at most
    ``T_s (1 + rho)^s`` (Theorem Taylor cost).  With ``reach`` = rho: the cost itself,
    ``1/s! int over |t| <= rho of (rho + |t|)^s |D(t)| dt``, finite for sin and cos too.

    Args:
        source: a name, an activation, or a scalar JAX function.  The kinks of a function of one's
            own are not known: where it has one, the constant is infinite, with that reason.
        s: the power of RePU_s, 0 to 16.
        reach: a finite number > 0.

    Returns:
        The enclosure, of relative width below 1e-12 for every registered activation, s up to 12.

    Raises:
        UsageError: s is out of range.
        DomainError: the reach is not a finite number > 0.

    Example:
        >>> found = taylor_constant("tanh", 1)
        >>> found.lower <= 2.47681168808847 <= found.upper < 2.4768116880885
        True
    """
    sigma, s = activation(source), checked_power(s)
    if reach is None:
        return _density_cost(sigma, s, reach_weight(s), None, "Taylor cost")
    weight = distance_weight(_checked_reach(reach), s, flint.fmpq(0))
    return _density_cost(sigma, s, weight, reach, "Taylor cost")


def density_moment(source: Source, s: int, power: int, *, reach: float | None = None) -> Constant:
    """``1/s! int (1 + |t|)^power |D(t)| dt``, the cost of a one-sided kernel in other weights.

    A particle ``D(t)/s! (z - t)_+^s`` at reach rho has the weight
    ``(1 + rho + |t|)^power <= (1 + rho)^power (1 + |t|)^power`` (Theorem Taylor cost).

    Args:
        source: as in :func:`taylor_constant`.
        s: the order of D is s + 1.
        power: 0 to s.
        reach: integrate over ``|t| <= reach`` only.

    Raises:
        UsageError: s or power out of range.
        DomainError: the reach is not a finite number > 0.

    Example:
        >>> found = density_moment("softplus", 1, 0)
        >>> found.lower <= 1.0 <= found.upper
        True
    """
    return _moment(source, s, 1, power, reach, "Taylor cost")


def weighted_moment(source: Source, terms: Mapping[int, float], power: int) -> Constant:
    """``int |sum_k a_k sigma^(k)(t)| (1 + |t|)^power dt`` for a combination of derivatives.

    Theorem Antiderivative.

    Args:
        source: as in :func:`taylor_constant`.
        terms: the factors a_k by the order k > power of the derivative.
        power: a whole number >= 0.

    Raises:
        UsageError: no term, or a derivative of too low or too high an order.

    Example:
        >>> found = weighted_moment("sigmoid", {1: 1.0}, 0)
        >>> found.lower <= 1.0 <= found.upper
        True
    """
    sigma = activation(source)
    if not terms or not 0 <= power < min(terms) or max(terms) > _LARGEST_ORDER + 1:
        raise UsageError(
            f"given: derivatives of orders {sorted(terms)} with power={power}; expected: orders "
            f"above the power, at most {_LARGEST_ORDER + 1}; do: lower the power"
        )
    if not all(math.isfinite(a) for a in terms.values()):
        raise UsageError(
            f"given: the factors {sorted(terms.items())}; expected: finite numbers; do: drop others"
        )
    exact = tuple((k, rational(a)) for k, a in sorted(terms.items()) if a != 0)
    if not exact:
        return Constant(0.0, 0.0, "Antiderivative")
    weight = distance_weight(flint.fmpq(1), power, flint.fmpq(0))
    return integral(sigma.program, jumps_of(sigma), exact, weight, None, None, "Antiderivative")


def variation_constant(source: Source, s: int) -> Constant:
    """``A_s = TV(sigma^(s)) / s!``, a lower bound on the constant of sigma in RePU_s.

    Theorem Taylor cost.

    Raises:
        UsageError: s is out of range.

    Example:
        >>> found = variation_constant("tanh", 1)
        >>> found.lower <= 2.0 <= found.upper
        True
    """
    return _density_cost(activation(source), checked_power(s), unit_weight(), None, "Taylor cost")


def absolute_moment(source: Source, s: int, power: int, *, reach: float | None = None) -> Constant:
    """``1/s! int |t|^power |D(t)| dt`` over R, for ``D = sigma^(s+1)`` (Theorem Taylor embedding).

    Args:
        source: as in :func:`taylor_constant`.
        s: the order of D is s + 1.
        power: 0 to s.
        reach: integrate over ``|t| <= reach`` only.

    Raises:
        UsageError: s or power out of range.
        DomainError: the reach is not a finite number > 0.

    Example:
        >>> found = absolute_moment("tanh", 1, 1)
        >>> found.lower <= 2.0 <= found.upper
        True
    """
    return _moment(source, s, 0, power, reach, "Taylor embedding")


def moment_between(source: Source, s: int, power: int, start: float, end: float) -> Constant:
    """``1/s! int |t|^power |D(t)| dt`` over (start, end), as in :func:`absolute_moment`.

    Args:
        source: as in :func:`taylor_constant`.
        s: the order of D is s + 1.
        power: 0 to s.
        start: finite.
        end: finite, above start.

    Raises:
        UsageError: s or power out of range.
        DomainError: the interval is empty or not finite.

    Example:
        >>> found = moment_between("tanh", 0, 0, 0.0, 1.0)
        >>> found.lower <= 0.7615941559557649 <= found.upper
        True
    """
    sigma, s = activation(source), checked_power(s)
    if not 0 <= power <= s:
        raise UsageError(
            f"given: power={power} with s={s}; expected: 0 <= power <= s; do: raise s or lower it"
        )
    if not (math.isfinite(start) and math.isfinite(end) and start < end):
        raise DomainError(
            f"given: the interval ({start}, {end}); expected: two finite ends in order; do: pass a "
            "bounded interval"
        )
    weight = distance_weight(flint.fmpq(0), power, flint.fmpq(0))
    ends = rational(start), rational(end)
    return integral(
        sigma.program, jumps_of(sigma), density_term(s), weight, *ends, "Taylor embedding"
    )


def density_part(source: Source, s: int, spread: float, offset: float) -> Constant:
    """The density part of ``sigma(w y + b)``, |y| <= 1: what its sharpest representation costs.

    ``1/s! int_(b-w)^(b+w) |D(z)| (w + |z - b|)^s dz`` for the spread w and the offset b (Theorem
    Taylor cost).

    Args:
        source: as in :func:`taylor_constant`.
        s: the power of RePU_s.
        spread: w, a finite number >= 0.
        offset: b, a finite number.

    Raises:
        UsageError: s is out of range.
        DomainError: the spread or the offset is not finite, or the spread is negative.

    Example:
        >>> found = density_part("relu", 1, 2.0, 0.0)
        >>> found.lower == found.upper == 2.0
        True
    """
    sigma, s = activation(source), checked_power(s)
    if not (math.isfinite(spread) and spread >= 0 and math.isfinite(offset)):
        raise DomainError(
            f"given: spread={spread}, offset={offset}; expected: a finite spread >= 0 and a finite "
            "offset; do: pass the norm of w and b"
        )
    if spread == 0:
        return Constant(0.0, 0.0, "Taylor cost")
    w, b = rational(spread), rational(offset)
    weight = distance_weight(w, s, b)
    kinks = jumps_of(sigma)
    return integral(sigma.program, kinks, density_term(s), weight, b - w, b + w, "Taylor cost")


def polynomial_part(source: Source, s: int) -> Constant:
    """What the Taylor polynomial at 0 costs at most, relative to (1 + rho)^s (Theorem Taylor cost).

    ``sum_k |sigma^(k)(0)|/k! cost(k, s) (k/s)^k (1 - k/s)^(s-k)`` with :func:`polynomial_cost`; at
    a kink the values from the left, as in :func:`jaxbarron.kernels.taylor_kernel`.

    Args:
        source: as in :func:`taylor_constant`.
        s: the power of RePU_s.

    Raises:
        UsageError: s is out of range.

    Example:
        >>> found = polynomial_part("tanh", 1)
        >>> found.lower <= 2.0 <= found.upper
        True
    """
    sigma, s = activation(source), checked_power(s)
    at_a_kink = next((k for k in jumps_of(sigma) if k.location == 0), None)
    with working_precision(BITS, SERIES):
        rough = None if at_a_kink is None else atom(sigma.program, at_a_kink, s + 1)
        if isinstance(rough, Constant):
            return Constant(rough.lower, math.inf, "Taylor cost", rough.reason)
        ball = flint.arb(0) if at_a_kink is None else inner_ball(flint.fmpq(0), -1)
        argument = flint.arb_series([ball, 1], prec=max(s + 1, 2))
        found = local_series(sigma.program, argument, ball)
        if not found.smooth:
            return Constant(0.0, math.inf, "Taylor cost", "may have a kink near z = 0; declare it")
        total = flint.arb(0)
        for k in range(s + 1):
            share = Fraction(k**k * (s - k) ** (s - k), s**s)
            factor = share * polynomial_cost(k, s)
            total += abs(found.coefficients[k]) * flint.fmpq(factor.numerator, factor.denominator)
        upper = upper_float(total)
        reason = "" if math.isfinite(upper) else "could not be bounded near z = 0"
        return Constant(lower_float(total), upper, "Taylor cost", reason)


# ------------------------------------------------------------------ arguments


def checked_power(s: int) -> int:
    """s, if it is a whole number from 0 to 16; UsageError otherwise."""
    if isinstance(s, bool) or not isinstance(s, int) or not 0 <= s <= _LARGEST_ORDER:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(
            f"given: s={s!r}; expected: a whole number from 0 to {_LARGEST_ORDER}; do: e.g. s=2"
        )
    return s


def _checked_reach(reach: float) -> Any:
    if not (math.isfinite(reach) and reach > 0):
        raise DomainError(
            f"given: reach={reach}; expected: a finite number > 0; do: give the largest |z|"
        )
    return rational(reach)


def density_term(s: int) -> tuple[tuple[int, Any], ...]:
    """D/s! as a combination of derivatives."""
    return ((s + 1, flint.fmpq(1, math.factorial(s))),)


def _moment(
    source: Source, s: int, shift: int, power: int, reach: float | None, theorem: str
) -> Constant:
    """``1/s! int (shift + |t|)^power |D(t)| dt``."""
    sigma, s = activation(source), checked_power(s)
    if not 0 <= power <= s:
        raise UsageError(
            f"given: power={power} with s={s}; expected: 0 <= power <= s; do: raise s or lower it"
        )
    if reach is not None:
        _checked_reach(reach)
    weight = distance_weight(flint.fmpq(shift), power, flint.fmpq(0))
    return _density_cost(sigma, s, weight, reach, theorem)


def _density_cost(
    sigma: Activation, s: int, weight: Weight, reach: float | None, theorem: str
) -> Constant:
    end = None if reach is None else rational(reach)
    start = None if end is None else -end
    return integral(sigma.program, jumps_of(sigma), density_term(s), weight, start, end, theorem)
