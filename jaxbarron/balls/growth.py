"""Exponentials that grow: elements ``exp(g(z)) (P(z) + rho(z))`` of the tail calculus.

A user's own sigmoid is ``1 / (1 + exp(-z))``: its exponential grows on one side, and the quotient
is an ordinary element again.  g has exact rational coefficients, so that equal exponentials cancel
exactly (THEORY.md, Theorem Growing exponentials).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flint

from jaxbarron.balls.envelopes import Envelope, HalfLine, TailPolynomial, Unknown
from jaxbarron.balls.expansions import AT_INFINITY
from jaxbarron.balls.jets import Calculus

__all__ = ["GrowingCalculus", "GrowingHalfLine", "Scaled"]

Exponent = tuple[Any, ...]

_ZERO = flint.fmpq(0)
_ONE = flint.fmpq(1)
_ANYTHING = Envelope(flint.arb("inf"))
# A lower bound of what exceeds this times T is just that, and what lies below the least is given
# up: exp(exp(2**80)) and exp(-exp(-2**80)) have no room as rates.
_ENOUGH = flint.arb(2) ** 64
_LEAST = flint.arb(2) ** -64


@dataclass(frozen=True, eq=False)
class Scaled(TailPolynomial):
    """``exp(g(z)) (P(z) + rho(z))``; ``exponent`` of g, constant first, of degree at least 1."""

    exponent: Exponent = ()

    @property
    def exact_value(self) -> Any:
        """None: no constant."""
        return None


def _split(a: TailPolynomial) -> tuple[Exponent, TailPolynomial]:
    if isinstance(a, Scaled):
        return a.exponent, TailPolynomial(a.coefficients, a.envelope)
    return (), a


def _difference(f: Exponent, g: Exponent) -> Exponent:
    found = [x - y for x, y in itertools.zip_longest(f, g, fillvalue=_ZERO)]
    while found and found[-1] == 0:
        found.pop()
    return tuple(found)


class GrowingHalfLine(HalfLine):
    """The arithmetic of tail polynomials times exponentials (Theorem Growing exponentials)."""

    def join(self, exponent: Exponent, tail: TailPolynomial) -> TailPolynomial:
        """``exp(g) * tail``, an ordinary element where nothing is lost by that."""
        exponent = _difference(exponent, ())
        if len(exponent) < 2:
            return self._times_exp(tail, exponent)
        if not tail.coefficients:
            lowered = self._lowered(exponent, tail)
            if lowered is not None:
                return lowered
        return Scaled(tail.coefficients, tail.envelope, exponent)

    def ordinary(self, a: TailPolynomial) -> TailPolynomial | None:
        """The same function without an exponential factor; None where it grows."""
        exponent, tail = _split(a)
        return self._lowered(exponent, tail) if exponent else tail

    def _lowered(self, exponent: Exponent, tail: TailPolynomial) -> TailPolynomial | None:
        if tail.is_zero:
            return tail
        if exponent[-1] < 0:
            envelope = super().decay(self.polynomial(exponent))
            small = None if envelope is None else self.polynomial([], envelope)
            return None if small is None else super().multiply(tail, small)
        # exp(g_0 + g_1 z) rho(z), g_1 > 0: the rate falls by g_1
        shift, slope = exponent[0], exponent[1]
        rate = tail.envelope.rate - slope
        if tail.coefficients or len(exponent) > 2 or rate < 0:
            return None
        factor = flint.arb(shift + slope * self.start).exp()
        constant = (tail.envelope.constant * factor).abs_upper()
        return self.polynomial([], Envelope(constant, tail.envelope.power, rate))

    def _times_exp(self, tail: TailPolynomial, constant: Exponent) -> TailPolynomial:
        if not constant:
            return tail  # times an exact 1
        return super().multiply(tail, self.constant(flint.arb(constant[0]).exp()))

    # ------------------------------------------------------------ the ring

    def add(self, a: TailPolynomial, b: TailPolynomial) -> TailPolynomial:
        """The sum, over the exponential that grows faster: the other one vanishes beside it."""
        if a.is_zero or b.is_zero:
            return b if a.is_zero else a
        (f, s), (g, t) = _split(a), _split(b)
        gap = _difference(g, f)
        if len(gap) < 2:
            return self.join(f, super().add(s, self._times_exp(t, gap)))
        if gap[-1] > 0:
            f, s, t, gap = g, t, s, _difference((), gap)
        envelope = super().decay(self.polynomial(gap)) or _ANYTHING
        return self.join(f, super().add(s, super().multiply(t, self.polynomial([], envelope))))

    def negate(self, a: TailPolynomial) -> TailPolynomial:
        """The negative."""
        exponent, tail = _split(a)
        return self.join(exponent, super().negate(tail))

    def multiply(self, a: TailPolynomial, b: TailPolynomial) -> TailPolynomial:
        """The product: exponents add."""
        (f, s), (g, t) = _split(a), _split(b)
        return self.join(_difference(f, _difference((), g)), super().multiply(s, t))

    def divide(self, a: TailPolynomial, b: TailPolynomial) -> TailPolynomial | Unknown:
        """The quotient: exponents subtract."""
        (f, s), (g, t) = _split(a), _split(b)
        quotient = super().divide(s, t)
        return quotient if isinstance(quotient, Unknown) else self.join(_difference(f, g), quotient)

    def sign(self, a: TailPolynomial) -> int | None:
        """The sign, that of the tail polynomial."""
        return super().sign(_split(a)[1])

    # -------------------------------------------------- towards infinity

    def size(self, a: TailPolynomial) -> Envelope:
        """An envelope of a as a whole."""
        lowered = self.ordinary(a)
        return _ANYTHING if lowered is None else super().size(lowered)

    def decay(self, a: TailPolynomial) -> Envelope | None:
        """An envelope of ``exp(a(z))``, also for ``a <= -A z^n exp(g(z))``.

        With h = z - T and ``g(T + h) >= g_0 + g_1 h``, g_1 > 0: ``a <= -M (1 + g_1 h)`` for
        ``M = A T^n exp(g_0)``.
        """
        exponent, tail = _split(a)
        if not exponent:
            return super().decay(tail)
        least = self.least_growth(tail)
        shifted = self.shifted(exponent)
        if least is None or self.sign(tail) != -1 or not shifted[1] > 0:
            return None
        if not all(c >= 0 for c in shifted[2:]):
            return None
        size = least * self.ball**tail.degree * flint.arb(shifted[0]).exp()
        size = size.min(_ENOUGH * self.ball).lower()
        if not size > _LEAST:
            return None
        return Envelope((-size).exp().abs_upper(), 0, size.fmpq() * shifted[1])

    def square_root(self, a: TailPolynomial) -> TailPolynomial | Unknown:
        """The root: the exponent is halved."""
        exponent, tail = _split(a)
        root = super().square_root(tail)
        if isinstance(root, Unknown):
            return root
        return self.join(tuple(c / 2 for c in exponent), root)


class GrowingCalculus(Calculus):
    """The primitives, with exponentials kept as such (Theorem Growing exponentials)."""

    half: GrowingHalfLine

    def __init__(self, half: GrowingHalfLine, length: int) -> None:
        super().__init__(half, length)

    def base(self, name: str, u: TailPolynomial) -> TailPolynomial | Unknown:
        """F(u) at order 0: through exponentials, else as an ordinary element, else by its limit."""
        plain = self.half.ordinary(u)
        rules = _OF_EXPONENTIALS if isinstance(u, Scaled) else {}
        if plain is None or plain.degree > 0:
            rules = rules | _THROUGH_EXPONENTIALS
        found = rules[name](self, u) if name in rules else None
        if found is not None:
            return found
        if plain is not None:
            return super().base(name, plain)
        sign = self.half.sign(u)
        if sign is None or name not in AT_INFINITY:
            return Unknown(name)
        return AT_INFINITY[name](self.half, u, sign)

    def exponential(self, u: TailPolynomial) -> TailPolynomial | None:
        """``exp(P + rho) = exp(P) * exp(rho)`` where P is rational; an arb constant goes to rho."""
        plain = self.half.ordinary(u)
        if plain is None or not all(isinstance(c, flint.fmpq) for c in plain.coefficients[1:]):
            return None
        constant = plain.coefficient(0)
        exact, rest = (constant, _ZERO) if isinstance(constant, flint.fmpq) else (_ZERO, constant)
        factor = self.near_constant("exp", self.half.polynomial([rest], plain.envelope))
        if isinstance(factor, Unknown):
            return None
        return self.half.join((exact, *plain.coefficients[1:]), factor)

    def logarithm(self, u: TailPolynomial) -> TailPolynomial | None:
        """``log(exp(g) (c + rho)) = g + log(c + rho)``."""
        exponent, tail = _split(u)
        if not exponent or tail.degree > 0:
            return None
        rest = self.near_constant("log", tail)
        if isinstance(rest, Unknown):
            return None
        return self.half.add(self.half.polynomial(exponent), rest)

    def small_exponential(self, u: TailPolynomial, rate: int) -> tuple[int, TailPolynomial] | None:
        """The sign of u and ``exp(-rate |u|)``."""
        sign = self.half.sign(u)
        if not sign:
            return None
        small = self.exponential(self._times(u, -sign * rate))
        return None if small is None else (sign, small)

    def _times(self, u: TailPolynomial, factor: Any) -> TailPolynomial:
        return self.half.multiply(self.half.constant(flint.fmpq(factor)), u)

    def one(self) -> TailPolynomial:
        """The constant 1."""
        return self.half.constant(_ONE)


def _found(value: TailPolynomial | Unknown) -> TailPolynomial | None:
    return None if isinstance(value, Unknown) else value


def _logistic(c: GrowingCalculus, u: TailPolynomial) -> TailPolynomial | None:
    """``1 / (1 + e)`` or ``e / (1 + e)``, ``e = exp(-|u|)``."""
    found = c.small_exponential(u, 1)
    if found is None:
        return None
    sign, small = found
    return _found(c.half.divide(c.one() if sign > 0 else small, c.half.add(c.one(), small)))


def _tanh(c: GrowingCalculus, u: TailPolynomial) -> TailPolynomial | None:
    """``sign(u) (1 - e) / (1 + e)``, ``e = exp(-2 |u|)``."""
    found = c.small_exponential(u, 2)
    if found is None:
        return None
    sign, small = found
    over, under = c.half.subtract(c.one(), small), c.half.add(c.one(), small)
    return _found(c.half.divide(over if sign > 0 else c.half.negate(over), under))


def _hyperbolic(odd: bool) -> Callable[[GrowingCalculus, TailPolynomial], TailPolynomial | None]:
    """sinh and cosh: ``(1 -+ e**2) / (2 e)``, ``e = exp(-|u|)``."""

    def rule(c: GrowingCalculus, u: TailPolynomial) -> TailPolynomial | None:
        found = c.small_exponential(u, 1)
        if found is None:
            return None
        sign, small = found
        square = c.half.multiply(small, small)
        over = c.half.subtract(c.one(), square) if odd else c.half.add(c.one(), square)
        factor = flint.fmpq(sign if odd else 1, 2)
        return _found(c.half.divide(c.half.multiply(c.half.constant(factor), over), small))

    return rule


def _exponential_minus_one(c: GrowingCalculus, u: TailPolynomial) -> TailPolynomial | None:
    found = c.exponential(u)
    return None if found is None else c.half.subtract(found, c.one())


Rule = Callable[[GrowingCalculus, TailPolynomial], TailPolynomial | None]

# of exp(g) (P + rho) itself
_OF_EXPONENTIALS: dict[str, Rule] = {
    "log": GrowingCalculus.logarithm,
    "log1p": lambda c, u: c.logarithm(c.half.add(c.one(), u)),
    "sqrt": lambda c, u: _found(c.half.square_root(u)),
}
# of a polynomial that grows
_THROUGH_EXPONENTIALS: dict[str, Rule] = {
    "exp": GrowingCalculus.exponential,
    "expm1": _exponential_minus_one,
    "logistic": _logistic,
    "tanh": _tanh,
    "sinh": _hyperbolic(odd=True),
    "cosh": _hyperbolic(odd=False),
}
