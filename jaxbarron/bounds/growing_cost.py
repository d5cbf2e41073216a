"""The cost with one more power of reach, for a bounded D (THEORY.md, Theorem Growing cost)."""

from __future__ import annotations

import functools
import itertools
import math

import flint

from jaxbarron.activations import activation
from jaxbarron.balls.envelopes import HalfLine, Unknown
from jaxbarron.balls.integrals import Combination
from jaxbarron.balls.series import working_precision
from jaxbarron.balls.suprema import Piece, lower_float, supremum, upper_float
from jaxbarron.balls.tails import linear_argument, tail_jet
from jaxbarron.balls.weights import unit_weight
from jaxbarron.bounds.constants import Source, checked_power, density_term
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
from jaxbarron.programs import Program

__all__ = ["growth_constant"]

_REL = 1e-6  # of the supremum of |D|


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
    sigma, s = activation(source), checked_power(s)
    return _growth(sigma.program, jumps_of(sigma), s)


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
    inner = integral(program, kinks, density_term(s), unit_weight(), -end, end, theorem)
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
