"""Integrals of ``|D|`` with D = sigma^(s+1), a density plus atoms at kinks, as enclosures.

The density is :mod:`jaxbarron.balls.integrals`'s; an atom is a jump of sigma^(s), read off two tiny
balls that end at the kink (THEORY.md, Theorem Antiderivative).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Literal

import flint

from jaxbarron.activations import Activation
from jaxbarron.balls.dyadic import exact
from jaxbarron.balls.integrals import Combination, absolute_integral
from jaxbarron.balls.roots import inner_ball
from jaxbarron.balls.series import local_series, working_precision
from jaxbarron.balls.suprema import lower_float, upper_float
from jaxbarron.balls.weights import Weight
from jaxbarron.programs import Program

__all__ = ["BITS", "SERIES", "Constant", "Jumps", "atom", "integral", "jumps_of", "rational"]

BITS = 192
SERIES = 40


@dataclass(frozen=True)
class Constant:
    """``lower <= value <= upper`` for a constant of the theory.

    Attributes:
        lower: a lower bound; inf where the constant is proved to be infinite.
        upper: an upper bound; inf where the constant is infinite or no bound was found.
        theorem: the theorem of THEORY.md.
        reason: why the upper bound is infinite, in words; empty otherwise.
        level: always ``"rigorous"``: outward-rounded enclosures.
    """

    lower: float
    upper: float
    theorem: str
    reason: str = ""
    level: Literal["rigorous"] = "rigorous"


@dataclass(frozen=True)
class Jumps:
    """A kink: ``known[j]`` is the jump of sigma^(j) there, as far as these are stated facts."""

    location: float
    known: tuple[float, ...]


def jumps_of(sigma: Activation) -> tuple[Jumps, ...]:
    """The kinks of an activation; RePU_t has one at 0, where only sigma^(t) jumps."""
    t = sigma.homogeneity
    if t is not None:
        zeros = (0.0,) * t
        return (Jumps(0.0, (*zeros, float(math.factorial(t)), *zeros, 0.0, 0.0, 0.0)),)
    return tuple(Jumps(k.location, k.jumps) for k in sigma.kinks)


def rational(value: float) -> Any:
    """A finite float as an exact rational."""
    return flint.fmpq(*float(value).as_integer_ratio())


@functools.lru_cache(maxsize=4096)
def integral(
    program: Program,
    kinks: tuple[Jumps, ...],
    terms: tuple[tuple[int, Any], ...],
    weight: Weight,
    start: Any,
    end: Any,
    theorem: str,
) -> Constant:
    """``int p |g|`` for ``g = sum_k a_k sigma^(k)``, atoms at kinks included.

    Kinks at an end of the interval do not count, since a particle with its kink there vanishes on
    it; but a jump of sigma itself does (order 1).

    Args:
        program: sigma.
        kinks: all of its kinks.
        terms: the pairs (k, a_k), k ascending.
        weight: p.
        start: a dyadic rational; None for -infinity.
        end: a dyadic rational; None for infinity.
        theorem: the name to put into the result.
    """
    order, factor = terms[-1]
    edges = order == 1
    inside = [k for k in kinks if _is_inside(rational(k.location), start, end, edges)]
    with working_precision(BITS, SERIES):
        atoms = flint.arb(0)
        for kink in inside:
            found = atom(program, kink, order)
            if isinstance(found, Constant):
                return Constant(found.lower, math.inf, theorem, found.reason)
            atoms += abs(found * factor) * weight.value(rational(kink.location))
    locations = tuple(rational(k.location) for k in kinks)
    density = absolute_integral(Combination(program, terms), weight, start, end, kinks=locations)
    with working_precision(BITS):
        lower = lower_float(flint.arb(density.lower) + atoms)
        upper = upper_float(flint.arb(density.upper) + atoms)
    if not math.isfinite(upper):
        return Constant(density.lower, math.inf, theorem, density.reason)
    return Constant(lower, upper, theorem)


def _is_inside(place: Any, start: Any, end: Any, edges: bool) -> bool:
    if edges:
        return (start is None or start <= place) and (end is None or place <= end)
    return (start is None or start < place) and (end is None or place < end)


def atom(program: Program, kink: Jumps, order: int) -> Any:
    """The jump of sigma^(order-1) at a kink, as a ball.

    A :class:`Constant`, infinite above and with a reason, where sigma^(order) is no measure at the
    kink, or not known to be one.
    """
    place = rational(kink.location)
    sides: list[Any] = []
    for side in (-1, 1):
        ball = inner_ball(place, side)
        found = local_series(program, flint.arb_series([ball, 1], prec=max(order, 2)), ball)
        if not found.smooth or not all(c.is_finite() for c in found.coefficients[:order]):
            reason = f"could not be bounded beside the kink at z = {kink.location:.6g}"
            return Constant(0.0, math.inf, "", reason)
        sides.append(found.coefficients)
    if order > 1 and _stands_alone(program, place, [side[0] for side in sides]):
        reason = f"the value at z = {kink.location:.6g} is not the limit there: D is no measure"
        return Constant(math.inf, math.inf, "", reason)
    for j in range(order):
        jump = math.factorial(j) * (sides[1][j] - sides[0][j])
        stated = kink.known[j] if j < len(kink.known) else None
        proved = jump > 0 or jump < 0
        if j < order - 1:
            # A jump stated to be zero is zero if the balls allow it; beyond what is stated only an
            # exact zero will do.
            if proved or stated or (stated is None and not jump.is_zero()):
                reason = f"the derivative of order {j} jumps at z = {kink.location:.6g}"
                lower = math.inf if proved else 0.0
                return Constant(lower, math.inf, "", f"{reason}: D is no measure")
        elif stated == 0 and not proved:
            return flint.arb(0)
        else:
            return jump
    raise AssertionError("order is at least 1")


def _stands_alone(program: Program, place: Any, limits: list[Any]) -> bool:
    """Whether the value at a place is proved to be another than the values on both sides.

    Comparisons with the place itself (z == 0) may give it a branch of its own.
    """
    point = exact(place)
    value = local_series(program, flint.arb_series([point, 1], prec=2), point).coefficients[0]
    return value.is_finite() and not any(value.overlaps(x) for x in limits)
