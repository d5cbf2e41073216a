"""Polynomial plus envelope: what is known of a function on a half line z >= T.

An element stands for ``P(z) + rho(z)`` with ``|rho(z)| <= C z^q exp(-lambda (z - T))`` for all
z >= T (THEORY.md, Theorem Tail calculus).  Coefficients of P are exact rationals (``fmpq``) as long
as they can be, so that slopes can be compared exactly, and balls (``arb``) otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flint

__all__ = ["Envelope", "HalfLine", "TailPolynomial", "Unknown"]

_ZERO = flint.fmpq(0)


@dataclass(frozen=True, eq=False)
class Envelope:
    """``|rho(z)| <= constant * z**power * exp(-rate * (z - T))`` for z >= T; rate >= 0 exact."""

    constant: Any
    power: int = 0
    rate: Any = _ZERO

    @property
    def vanishes(self) -> bool:
        """Whether rho is zero."""
        return bool(self.constant.is_zero())


@dataclass(frozen=True, eq=False)
class TailPolynomial:
    """``P(z) + rho(z)``; ``coefficients`` of P, constant first, without trailing exact zeros."""

    coefficients: tuple[Any, ...]
    envelope: Envelope

    @property
    def degree(self) -> int:
        """The degree of P; 0 for a constant, also for zero."""
        return max(len(self.coefficients) - 1, 0)

    def coefficient(self, k: int) -> Any:
        """The coefficient of z**k, exact zero beyond the degree."""
        return self.coefficients[k] if k < len(self.coefficients) else _ZERO

    @property
    def exact_value(self) -> Any:
        """The rational number that the function is; None where it is none."""
        value = self.coefficient(0)
        known = not self.degree and self.envelope.vanishes and isinstance(value, flint.fmpq)
        return value if known else None

    @property
    def is_zero(self) -> bool:
        """Whether the function is known to be identically zero."""
        return not self.coefficients and self.envelope.vanishes


@dataclass(frozen=True)
class Unknown:
    """Nothing is known of the function; ``reason`` says what stood in the way."""

    reason: str


NO_ENVELOPE = Envelope(flint.arb(0))


class HalfLine:
    """The arithmetic of tail polynomials on ``z >= start`` (Theorem Tail calculus).

    Runs at flint's present precision.
    """

    def __init__(self, start: Any) -> None:
        self.start = start  # positive fmpq
        self.ball = flint.arb(start)

    # ------------------------------------------------------------- envelopes

    def sup_factor(self, power: int, rate: Any) -> Any:
        """sup over z >= T of ``z**power * exp(-rate * (z - T))``; inf if there is none."""
        if power <= 0:
            return self.ball**power
        if rate == 0:
            return flint.arb("inf")
        if rate * self.start >= power:
            return self.ball**power
        peak = flint.arb(flint.fmpq(power) / rate)
        return peak**power * (flint.arb(rate) * self.ball - power).exp()

    def bound(self, envelope: Envelope) -> Any:
        """sup of the envelope, as an exact ball; may be inf."""
        if envelope.vanishes:
            return flint.arb(0)
        return _upper(envelope.constant * self.sup_factor(envelope.power, envelope.rate))

    def _sum_of_envelopes(self, a: Envelope, b: Envelope) -> Envelope:
        if a.vanishes or b.vanishes:
            return b if a.vanishes else a
        if a.rate == b.rate:
            power = max(a.power, b.power)
        else:
            # The slower one dictates the power: the quicker one absorbs any power of z.
            power = a.power if a.rate < b.rate else b.power
        rate = min(a.rate, b.rate)
        constant = sum(
            (e.constant * self.sup_factor(e.power - power, e.rate - rate) for e in (a, b)),
            flint.arb(0),
        )
        return Envelope(_upper(constant), power, rate)

    def _product_of_envelopes(self, a: Envelope, b: Envelope) -> Envelope:
        if a.vanishes or b.vanishes:
            return NO_ENVELOPE
        return Envelope(_upper(a.constant * b.constant), a.power + b.power, a.rate + b.rate)

    def modulus(self, coefficients: tuple[Any, ...]) -> Envelope:
        """``|P(z)| <= A z**degree``."""
        if not coefficients:
            return NO_ENVELOPE
        degree = len(coefficients) - 1
        total = flint.arb(0)
        for k, c in enumerate(coefficients):
            total += abs(flint.arb(c)) * self.ball ** (k - degree)
        return Envelope(_upper(total), degree)

    # ------------------------------------------------------------ the ring

    def constant(self, value: Any) -> TailPolynomial:
        """A constant (fmpq or arb)."""
        return self.polynomial([value])

    def polynomial(self, coefficients: Any, envelope: Envelope = NO_ENVELOPE) -> TailPolynomial:
        """``P + rho`` from coefficients, constant first."""
        kept = list(coefficients)
        while kept and _is_exact_zero(kept[-1]):
            kept.pop()
        return TailPolynomial(tuple(kept), envelope)

    def add(self, a: TailPolynomial, b: TailPolynomial) -> TailPolynomial:
        """The sum."""
        count = max(len(a.coefficients), len(b.coefficients))
        return self.polynomial(
            [a.coefficient(k) + b.coefficient(k) for k in range(count)],
            self._sum_of_envelopes(a.envelope, b.envelope),
        )

    def negate(self, a: TailPolynomial) -> TailPolynomial:
        """The negative."""
        return TailPolynomial(tuple(-c for c in a.coefficients), a.envelope)

    def subtract(self, a: TailPolynomial, b: TailPolynomial) -> TailPolynomial:
        """The difference."""
        return self.add(a, self.negate(b))

    def multiply(self, a: TailPolynomial, b: TailPolynomial) -> TailPolynomial:
        """The product: (P + rho)(Q + tau) = PQ + (P tau + Q rho + rho tau)."""
        product: list[Any] = [_ZERO] * (len(a.coefficients) + len(b.coefficients))
        for i, x in enumerate(a.coefficients):
            for k, y in enumerate(b.coefficients):
                product[i + k] = product[i + k] + x * y
        envelope = self._product_of_envelopes(a.envelope, b.envelope)
        for one, other in ((a, b), (b, a)):
            part = self._product_of_envelopes(self.modulus(one.coefficients), other.envelope)
            envelope = self._sum_of_envelopes(envelope, part)
        return self.polynomial(product, envelope)

    def least_growth(self, a: TailPolynomial) -> Any:
        """Some exact A > 0 with ``|a(z)| >= A z**degree`` on the half line, or None."""
        if not a.coefficients:
            return None
        least = flint.arb(a.coefficients[-1]).abs_lower()
        lower = self.modulus(a.coefficients[:-1])
        if not lower.vanishes:
            least -= lower.constant / self.ball ** (a.degree - lower.power)
        if not a.envelope.vanishes:
            factor = self.sup_factor(a.envelope.power - a.degree, a.envelope.rate)
            least -= a.envelope.constant * factor
        return least.lower() if least > 0 else None

    def sign(self, a: TailPolynomial) -> int | None:
        """The sign of a(z), the same for all z >= T; None where undecided."""
        if a.is_zero:
            return 0
        if self.least_growth(a) is None:
            return None
        return 1 if a.coefficients[-1] > 0 else -1

    def divide(self, a: TailPolynomial, b: TailPolynomial) -> TailPolynomial | Unknown:
        """The quotient: polynomial division, and what remains over ``|b| >= A z**n``."""
        least = self.least_growth(b)
        if least is None:
            return Unknown("div")
        rest, quotient = list(a.coefficients), [_ZERO] * max(len(a.coefficients) - b.degree, 0)
        for k in reversed(range(len(quotient))):
            quotient[k] = rest[k + b.degree] / b.coefficients[-1]
            for i, c in enumerate(b.coefficients):
                rest[k + i] = rest[k + i] - quotient[k] * c
        # a / b - Q = (R + rho_a - Q rho_b) / b; the leading terms of R are zero by construction.
        remainder = self._sum_of_envelopes(
            self._sum_of_envelopes(a.envelope, self.modulus(tuple(rest[: b.degree]))),
            self._product_of_envelopes(self.modulus(tuple(quotient)), b.envelope),
        )
        inverse = Envelope(_upper(1 / least), -b.degree)
        return self.polynomial(quotient, self._product_of_envelopes(remainder, inverse))

    # -------------------------------------------------- towards infinity

    def size(self, a: TailPolynomial) -> Envelope:
        """An envelope of a as a whole."""
        return self._sum_of_envelopes(self.modulus(a.coefficients), a.envelope)

    def shifted(self, coefficients: tuple[Any, ...]) -> list[Any]:
        """The coefficients of ``P(T + h)`` in h."""
        shifted = list(coefficients)
        for low in range(len(shifted)):
            for k in reversed(range(low, len(shifted) - 1)):
                shifted[k] = shifted[k] + shifted[k + 1] * self.start
        return shifted

    def decay(self, a: TailPolynomial) -> Envelope | None:
        """An envelope of ``exp(a(z))`` for a(z) -> -infinity; None if none was found.

        With z = T + h and P(T + h) = p_0 + p_1 h + ...: if p_1 < 0 and all later p_k <= 0, then
        ``exp(P + rho) <= exp(p_0 + sup |rho|) exp(p_1 h)``.
        """
        spread = self.bound(a.envelope)
        if a.degree < 1 or not spread.is_finite():
            return None
        shifted = self.shifted(a.coefficients)
        if not shifted[1] < 0 or not all(c <= 0 for c in shifted[2:]):
            return None
        exact = isinstance(shifted[1], flint.fmpq)
        rate = -shifted[1] if exact else -shifted[1].upper().fmpq()
        return Envelope(_upper((flint.arb(shifted[0]) + spread).exp()), 0, rate)

    def square_root(self, a: TailPolynomial) -> TailPolynomial | Unknown:
        """The root of a polynomial of even degree 2n: a polynomial Q of degree n, plus O(1/z).

        ``sqrt(a) - Q = (a - Q**2) / (sqrt(a) + Q)``, and sqrt(a) + Q >= Q.
        """
        half, odd = divmod(a.degree, 2)
        if odd or self.sign(a) != 1:
            return Unknown("sqrt")
        root: list[Any] = [_ZERO] * (half + 1)
        root[half] = _exact_root(a.coefficients[-1])
        for k in reversed(range(half)):
            known = sum((root[i] * root[half + k - i] for i in range(k + 1, half)), _ZERO)
            root[k] = (a.coefficient(half + k) - known) / (2 * root[half])
        guess = self.polynomial(root)
        least = self.least_growth(guess)
        if least is None:
            return Unknown("sqrt")
        square = self.multiply(guess, guess)
        # Coefficients from z**half up cancel by construction: they must not come back as balls.
        rest = tuple(a.coefficient(k) - square.coefficient(k) for k in range(half))
        envelope = self._product_of_envelopes(
            self._sum_of_envelopes(self.modulus(rest), a.envelope),
            Envelope(_upper(1 / least), -half),
        )
        return self.polynomial(root, envelope)


def _upper(ball: Any) -> Any:
    """The upper end of a nonnegative ball, exact; inf if it is not finite."""
    return ball.abs_upper() if ball.is_finite() else flint.arb("inf")


def _is_exact_zero(value: Any) -> bool:
    return bool(value == 0) if isinstance(value, flint.fmpq) else bool(value.is_zero())


def _exact_root(value: Any) -> Any:
    if isinstance(value, flint.fmpq):
        over, under = int(value.p), int(value.q)
        roots = flint.fmpz(over).isqrt(), flint.fmpz(under).isqrt()
        if roots[0] ** 2 == over and roots[1] ** 2 == under:
            return flint.fmpq(roots[0], roots[1])
    return flint.arb(value).sqrt()
