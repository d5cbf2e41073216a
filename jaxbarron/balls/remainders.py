"""What an integral of p |g| still holds beyond a point: settled in closed form, or bounded.

Where g decays like a power its sign follows from the expansion at infinity, and the integral
is the difference of two values of the antiderivative.  Where it decays exponentially the tail
calculus bounds it (THEORY.md, Theorem Remainder of an integral).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flint

from jaxbarron.balls.dyadic import floor_log2, power_of_two
from jaxbarron.balls.envelopes import Envelope, HalfLine, Unknown
from jaxbarron.balls.infinity import expansion_at_infinity
from jaxbarron.balls.tails import linear_argument, tail_jet
from jaxbarron.programs import Program

__all__ = ["Decaying", "Divergent", "Settled", "Unbounded", "cached_tail_jet", "remainder"]

_DOUBLINGS = 24
_FURTHEST = 64  # a bounded tail may be pushed out to so many times its start
_EXPANSION = 10  # coefficients of an expansion at infinity, beyond the order of g
_PATIENCE = 8  # doublings spent on an expansion before an algebraic bound is taken


@dataclass(frozen=True, eq=False)
class Settled:
    """g has one sign beyond ``start``, and its antiderivative the limit ``limit``."""

    start: Any
    limit: Any


@dataclass(frozen=True, eq=False)
class Decaying:
    """``|g(side * x)| <= envelope`` for x >= start, and ``|p| <= size * x**degree``."""

    start: Any
    envelope: Envelope
    size: Any
    degree: int

    def bound(self, at: Any) -> Any:
        """At least the integral of ``p |g|`` beyond ``at >= start``."""
        if self.envelope.vanishes:
            return flint.arb(0)
        rate, power, far = self.envelope.rate, self.envelope.power + self.degree, flint.arb(at)
        factor = self.envelope.constant * self.size
        if rate == 0:
            return factor * far ** (power + 1) / (-power - 1)
        # int_0^inf (x + h)^m exp(-rate h) dh, by the binomial theorem; for m <= 0 by x^m.
        terms = (
            math.perm(max(power, 0), k) * far ** (power - k) / flint.arb(rate) ** (k + 1)
            for k in range(max(power, 0) + 1)
        )
        return factor * (-flint.arb(rate * (at - self.start))).exp() * sum(terms, flint.arb(0))

    def point_for(self, target: Any) -> Any:
        """Where the bound is at most ``target``, or as far out as one goes."""
        rate, at = self.envelope.rate, self.start
        far = self.start * (_FURTHEST if rate else power_of_two(64))
        while at < far and not self.bound(at) <= target:
            at = at + self.start / 4 if rate else 4 * at
        return at


@dataclass(frozen=True)
class Divergent:
    """The integral is infinite, provably."""

    reason: str


@dataclass(frozen=True)
class Unbounded:
    """No bound was found; ``start`` is none the less beyond all kinks that are declared."""

    reason: str


def remainder(
    program: Program,
    terms: Sequence[tuple[int, Any]],
    polynomial: Sequence[Any],
    side: int,
    beyond: Any,
) -> Settled | Decaying | Divergent | Unbounded:
    """The part of ``int p |g|`` on ``side * x >= start``, for some start >= beyond.

    Theorem Remainder of an integral.  Runs at flint's present precision.

    Args:
        program: sigma.
        terms: g as pairs (k, a_k), as in :class:`jaxbarron.balls.integrals.Combination`.
        polynomial: p, in the variable z = side * x, positive beyond.
        side: 1 or -1.
        beyond: a positive rational beyond all kinks and breaks.
    """
    order = max(k for k, _ in terms)
    start = power_of_two(max(floor_log2(beyond) + 1, 3))
    fallback: Decaying | None = None
    reason = ""
    looks = 0
    for _ in range(_DOUBLINGS):
        half = HalfLine(start)
        jet = _tail_jet(program, side, start, order + 1)
        if isinstance(jet, Unknown):
            reason = f"the tail could not be bounded ({jet.reason})"
        else:
            g = half.constant(flint.fmpq(0))
            for k, a in terms:
                g = half.add(g, half.multiply(half.constant(math.factorial(k) * a), jet[k]))
            modulus = half.modulus(tuple(polynomial))
            found = Decaying(start, g.envelope, modulus.constant, modulus.power)
            rate, power = g.envelope.rate, g.envelope.power + modulus.power
            if g.coefficients:
                if half.sign(g) is not None:
                    return Divergent(f"the derivative of order {order} does not decay")
                reason = "the tail could not be bounded (a limit that is zero but for rounding)"
            elif g.envelope.vanishes or rate * start >= 1:
                return found
            elif rate == 0:
                settled = _settled(program, terms, polynomial, side, start)
                if isinstance(settled, Settled):
                    return settled
                if power < -1:
                    fallback = fallback or found
                reason = f"the derivative of order {order} is not known to decay"
                looks += 1
                # without an expansion, nothing gets better further out
                if looks >= (_PATIENCE if fallback or settled is None else 2):
                    break
        start = 2 * start
    return fallback or Unbounded(reason)


@functools.lru_cache(maxsize=512)
def cached_tail_jet(program: Program, side: int, start: Any, length: int, bits: int) -> Any:
    """The tail jet of a program in z = side * x on x >= start, at a precision of ``bits``."""
    half = HalfLine(start)
    return tail_jet(program, half, linear_argument(half, side, 1, 0, length - 1))


def _tail_jet(program: Program, side: int, start: Any, length: int) -> Any:
    # Derivatives up to the fifth are asked for together, one order after the other.
    return cached_tail_jet(program, side, start, max(length, 6), flint.ctx.prec)


def _settled(
    program: Program,
    terms: Sequence[tuple[int, Any]],
    polynomial: Sequence[Any],
    side: int,
    start: Any,
) -> Settled | Unknown | None:
    """The sign of g and the limit of its antiderivative from the expansion at infinity.

    None where there is an expansion that may serve from a later start.
    """
    order = max(k for k, _ in terms)
    found = expansion_at_infinity(program, start, side, order + _EXPANSION)
    if isinstance(found, Unknown):
        return found
    density = [(k, 0, a * side**k) for k, a in terms]
    primitive: list[tuple[int, int, Any]] = []
    for k, a in terms:
        derivative = list(polynomial)
        for j in range(len(polynomial)):
            lower = k - 1 - j
            primitive += [
                (lower, i, (-1) ** j * a * c * side ** (i + lower))
                for i, c in enumerate(derivative)
            ]
            derivative = [i * c for i, c in enumerate(derivative)][1:]
    limit = found.combined(primitive).limit
    if found.combined(density).sign is None or limit is None:
        return None
    return Settled(start, limit)
