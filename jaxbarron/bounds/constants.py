"""Closed forms for what the Taylor kernel costs: enclosures of T_s and its kin.

D = sigma^(s+1) is a density plus atoms at kinks.  Its integrals against the weights of RePU_s
particles are finite sums of values of sigma and its derivatives (THEORY.md, Theorem Antiderivative,
Theorem Taylor cost); no quadrature is involved.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import flint

from jaxbarron.activations import Activation, activation
from jaxbarron.balls.envelopes import HalfLine, Unknown
from jaxbarron.balls.integrals import Combination
from jaxbarron.balls.roots import inner_ball
from jaxbarron.balls.series import local_series, working_precision
from jaxbarron.balls.suprema import Piece, lower_float, supremum, upper_float
from jaxbarron.balls.tails import linear_argument, tail_jet
from jaxbarron.balls.weights import Weight, distance_weight, reach_weight, unit_weight
from jaxbarron.bounds.density import (
    BITS,
    SERIES,
    Constant,
    Jumps,
    atom,
    integral,
    jumps_of,
    rational,
)
from jaxbarron.bounds.polynomial_cost import polynomial_cost
from jaxbarron.errors import DomainError, UsageError
from jaxbarron.programs import Program

__all__ = [
    "Constant",
    "absolute_moment",
    "density_moment",
    "density_part",
    "growth_constant",
    "moment_between",
    "polynomial_cost",
    "polynomial_part",
    "taylor_constant",
    "variation_constant",
    "weighted_moment",
]

_LARGEST_ORDER = 16
_REL = 1e-6  # of the supremum in growth_constant


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
    sigma, s = activation(source), _checked_order(s)
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
    sigma, s = activation(source), _checked_order(s)
    if not 0 <= power <= s:
        raise UsageError(
            f"given: power={power} with s={s}; expected: 0 <= power <= s; do: raise s or lower it"
        )
    weight = distance_weight(flint.fmpq(1), power, flint.fmpq(0))
    if reach is not None:
        _checked_reach(reach)
    return _density_cost(sigma, s, weight, reach, "Taylor cost")


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
    return _density_cost(activation(source), _checked_order(s), unit_weight(), None, "Taylor cost")


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
    sigma, s = activation(source), _checked_order(s)
    if not 0 <= power <= s:
        raise UsageError(
            f"given: power={power} with s={s}; expected: 0 <= power <= s; do: raise s or lower it"
        )
    weight = distance_weight(flint.fmpq(0), power, flint.fmpq(0))
    if reach is not None:
        _checked_reach(reach)
    return _density_cost(sigma, s, weight, reach, "Taylor embedding")


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
    sigma, s = activation(source), _checked_order(s)
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
    return integral(sigma.program, jumps_of(sigma), _density(s), weight, *ends, "Taylor embedding")


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
    sigma, s = activation(source), _checked_order(s)
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
    return integral(sigma.program, kinks, _density(s), weight, b - w, b + w, "Taylor cost")


def growth_constant(source: Source, s: int) -> Constant:
    """``C = 2 sup|D| (2^(s+1) - 1)/(s+1)!`` plus atoms: the cost with one more power of reach.

    The Taylor kernel of a particle of reach rho, without its polynomial part, costs at most
    ``C (1 + rho)^(s+1)`` where D is merely bounded, as for sin and cos (Theorem Growing cost).
    The enclosure is one of C, of relative width about 1e-6.

    Args:
        source: as in :func:`taylor_constant`.
        s: the power of RePU_s.

    Raises:
        UsageError: s is out of range.

    Example:
        >>> found = growth_constant("sin", 1)
        >>> found.lower <= 3.0 <= found.upper < 3.00001
        True
    """
    sigma, s = activation(source), _checked_order(s)
    return _growth(sigma.program, jumps_of(sigma), s)


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
    sigma, s = activation(source), _checked_order(s)
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


def _checked_order(s: int) -> int:
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


def _density(s: int) -> tuple[tuple[int, Any], ...]:
    return ((s + 1, flint.fmpq(1, math.factorial(s))),)


def _density_cost(
    sigma: Activation, s: int, weight: Weight, reach: float | None, theorem: str
) -> Constant:
    end = None if reach is None else rational(reach)
    start = None if end is None else -end
    return integral(sigma.program, jumps_of(sigma), _density(s), weight, start, end, theorem)


# ----------------------------------------------------------------- growing cost


@functools.lru_cache(maxsize=512)
def _growth(program: Program, kinks: tuple[Jumps, ...], s: int) -> Constant:
    theorem = "Growing cost"
    factorial = math.factorial(s)
    start = 8.0 + 2 * max((abs(k.location) for k in kinks), default=0.0)
    while True:
        far = _bound_beyond(program, s, start)
        if far is not None or start > 2**20:
            break
        start *= 2
    if far is None:
        reason = f"the derivative of order {s + 1} is not known to be bounded"
        return Constant(0.0, math.inf, theorem, reason)
    end = rational(start)
    # finite here means: no kink that is not declared, no derivative without a bound
    inner = integral(program, kinks, _density(s), unit_weight(), -end, end, theorem)
    if not math.isfinite(inner.upper):
        return inner
    with working_precision(BITS, SERIES):
        places = sorted({rational(k.location) for k in kinks})
        ends = [-end, *places, end]
        model = Combination(program, ((s + 1, flint.fmpq(1)),)).model
        pieces = [Piece(a, b, model) for a, b in itertools.pairwise(ends)]
        top = supremum(pieces, rel=_REL)
        factor = flint.arb(flint.fmpq(2 * (2 ** (s + 1) - 1), math.factorial(s + 1)))
        atoms = flint.arb(0)
        for kink in kinks:
            # sup over rho of (rho + |t|)^s / (1 + rho)^(s+1), rho >= |t|, bounded in two ways
            t = abs(flint.arb(kink.location))
            low = flint.fmpq(2**s * s**s, (s + 1) ** (s + 1))
            share = flint.arb(low).min(flint.arb(1).max(t) ** s / (1 + t))
            atoms += abs(atom(program, kink, s + 1)) / factorial * share
        lower = lower_float(factor * flint.arb(top.lower) + atoms)
        upper = upper_float(factor * flint.arb(max(top.upper, far)) + atoms)
    return Constant(lower, upper, theorem)


def _bound_beyond(program: Program, s: int, start: float) -> float | None:
    """sup of |D| on ``|z| >= start``; None where no bound was found."""
    bounds: list[float] = []
    with working_precision(BITS, SERIES):
        half = HalfLine(rational(start))
        for side in (-1, 1):
            jet = tail_jet(program, half, linear_argument(half, side, 1, 0, s + 1))
            if isinstance(jet, Unknown):
                return None
            tail = half.multiply(half.constant(flint.fmpq(math.factorial(s + 1))), jet[s + 1])
            if tail.degree > 0:
                return None
            bound = abs(flint.arb(tail.coefficient(0))) + half.bound(tail.envelope)
            if not bound.is_finite():
                return None
            bounds.append(upper_float(bound))
    return max(bounds)
