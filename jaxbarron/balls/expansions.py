"""Elementary functions of a tail polynomial that grows: their limits, and how fast they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flint

from jaxbarron.balls.envelopes import Envelope, HalfLine, TailPolynomial, Unknown

__all__ = ["AT_INFINITY"]

Expansion = Callable[[HalfLine, TailPolynomial, int], TailPolynomial | Unknown]


def _limits(name: str, at_plus: Any, at_minus: Any, factor: int, rate: int) -> Expansion:
    """A limit on either side, reached like ``factor * exp(-rate * |u|)``; None: no limit there."""

    def rule(half: HalfLine, u: TailPolynomial, sign: int) -> TailPolynomial | Unknown:
        limit = at_plus if sign > 0 else at_minus
        envelope = half.decay(half.multiply(half.constant(flint.fmpq(-sign * rate)), u))
        if limit is None or envelope is None:
            return Unknown(name)
        wider = Envelope(envelope.constant * factor, envelope.power, envelope.rate)
        return half.polynomial([flint.fmpq(limit)], wider)

    return rule


def _error_limits(name: str, at_plus: int, at_minus: int) -> Expansion:
    """erf and erfc: ``1 - erf(u) = erfc(u) <= exp(-u**2)`` for u >= 0, and oddness."""

    def rule(half: HalfLine, u: TailPolynomial, sign: int) -> TailPolynomial | Unknown:
        envelope = half.decay(half.negate(half.multiply(u, u)))
        if envelope is None:
            return Unknown(name)
        return half.polynomial([flint.fmpq(at_plus if sign > 0 else at_minus)], envelope)

    return rule


def _arc_tangent(half: HalfLine, u: TailPolynomial, sign: int) -> TailPolynomial | Unknown:
    """``|atan(u) -+ pi/2| = atan(1/|u|) <= 1/|u|``."""
    inverse = half.divide(half.constant(flint.fmpq(1)), u)
    if isinstance(inverse, Unknown):
        return Unknown("atan")
    return half.polynomial([flint.arb.pi() / 2 * sign], half.size(inverse))


def _bounded(half: HalfLine, u: TailPolynomial, sign: int) -> TailPolynomial | Unknown:
    return half.polynomial([], Envelope(flint.arb(1)))


def _power_of_two(half: HalfLine, u: TailPolynomial, sign: int) -> TailPolynomial | Unknown:
    scaled = half.multiply(half.constant(flint.arb(2).log()), u)
    found = AT_INFINITY["exp"](half, scaled, sign)
    return Unknown("exp2") if isinstance(found, Unknown) else found


AT_INFINITY: dict[str, Expansion] = {
    "exp": _limits("exp", None, 0, 1, 1),
    "exp2": _power_of_two,
    "expm1": _limits("expm1", None, -1, 1, 1),
    "logistic": _limits("logistic", 1, 0, 1, 1),
    "tanh": _limits("tanh", 1, -1, 2, 2),
    "erf": _error_limits("erf", 1, -1),
    "erfc": _error_limits("erfc", 0, 2),
    "atan": _arc_tangent,
    "sin": _bounded,
    "cos": _bounded,
    "sqrt": lambda half, u, sign: half.square_root(u),
}
