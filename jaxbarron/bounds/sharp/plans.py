"""What a plan costs at a reach, and how that changes with it (THEORY.md, Theorem Shares)."""

from __future__ import annotations

import functools
import math
from typing import Any

import flint

from jaxbarron.balls.dyadic import exact
from jaxbarron.bounds.density import rational
from jaxbarron.bounds.polynomial_cost import polynomial_cost
from jaxbarron.bounds.sharp.evidence import Plan
from jaxbarron.bounds.sharp.moments import AbsoluteMoments
from jaxbarron.errors import UsageError

__all__ = ["PlanCost", "checked_plan", "inverse_of_powers"]


def checked_plan(plan: Plan, s: int) -> None:
    """UsageError unless the shares stay in [0, 1], end at 1, and the powers are s + 1 different.

    The places of the steps may be anything but kinks of sigma: there the Taylor polynomial is not
    a number, and so no bound comes of it.
    """
    good = all(math.isfinite(x) for step in plan.steps for x in step)
    shares = [flint.fmpq(0)]
    for _, _, change in plan.steps if good else ():
        shares.append(shares[-1] + rational(change))
    if not (good and all(0 <= x <= 1 for x in shares) and shares[-1] == 1):
        raise UsageError(
            f"given: the shares {plan.steps!r}; expected: finite steps from 0 to 1, never below or "
            "above; do: search again"
        )
    good = all(math.isfinite(t) or t == math.inf for t in plan.kinks)
    if plan.kinks and not (good and len(plan.kinks) == len(set(plan.kinks)) == s + 1):
        raise UsageError(
            f"given: powers at {plan.kinks!r}; expected: {s + 1} different places; do: search again"
        )


class PlanCost:
    """The cost of sigma on [-rho, rho] by one plan: ``U(rho)`` and the slope of its ratio."""

    def __init__(self, moments: AbsoluteMoments, plan: Plan, order: int) -> None:
        checked_plan(plan, moments.s)
        self.moments, self.plan, self.s, self.order = moments, plan, moments.s, order
        self.steps = [tuple(rational(x) for x in step) for step in plan.steps]
        self.costs = [
            flint.arb(flint.fmpq(c.numerator, c.denominator))
            for c in (polynomial_cost(k, self.s) for k in range(self.s + 1))
        ]
        self.powers = inverse_of_powers(plan.kinks, self.s) if plan.kinks else None
        self._polynomials: dict[Any, list[Any]] = {}

    def value(self, rho: Any, *, after: bool = False) -> Any:
        """``U(rho)`` at a dyadic rational; its limit from above if ``after``."""
        ball = exact(rho)
        total = self.density(ball, self.moments.at(rho, after=after))
        return total + sum(map(abs, self._terms(self._scaled(ball, rho, after))), flint.arb(0))

    def ratio(self, rho: Any, *, after: bool = False) -> Any:
        """``U(rho)/(1 + rho)^p``."""
        return self.value(rho, after=after) / (1 + exact(rho)) ** self.order

    def slope(self, low: Any, high: Any) -> Any:
        """``d/drho`` of ``U(rho)/(1 + rho)^p`` for almost all rho from low to high."""
        s, p = self.s, self.order
        middle, radius = (low + high) / 2, exact((high - low) / 2)
        ball = flint.arb(exact(middle), radius)
        m = self.moments.over(low, high)
        total = (1 + ball) * (2 * ball) ** s * self.moments.size(ball)
        for k in range(s):
            power = ball ** (s - 1 - k) if k < s - 1 else flint.arb(1)
            total += s * math.comb(s - 1, k) * power * (m[k] - m[k + 1])
        if p != s:
            total += (s - p) * self.density(ball, m)
        slopes = self._terms(self._slopes(ball, middle, radius))
        centre = self._terms(self._scaled(exact(middle), middle, False))
        for value, slope in zip(centre, slopes, strict=True):
            value = value + slope * flint.arb(0, radius)
            if slope.is_zero() and value.is_zero():
                continue
            sign = 1 if value > 0 else -1 if value < 0 else flint.arb(0, 1)
            total += (1 + ball) * sign * slope - p * abs(value)
        return total / (1 + ball) ** (p + 1)

    def bernstein(self, moments: list[Any]) -> list[Any]:
        """Coefficients of ``U/(1 + rho)^s`` in rho/(1 + rho), for a fixed plan and these moments.

        The polynomial is paid for in monomials here, whatever the plan says.
        """
        s, polynomial = self.s, self._polynomial(flint.fmpq(0), False)
        return [
            moments[s - k] + abs(polynomial[k]) * self.costs[k] / math.comb(s, k)
            for k in range(s + 1)
        ]

    @property
    def polynomial(self) -> list[Any]:
        """Of a fixed plan: P in powers of z."""
        return self._polynomial(flint.fmpq(0), False)

    # ---------------------------------------------------------------------------- inside

    def _jet(self, ball: Any, after: bool) -> list[Any]:
        """``sigma^(k)/k!`` at a place of a step."""
        side = -1 if ball < 0 else 1
        if ball.is_exact() and ball.fmpq() in self.moments.atom_places:
            return [flint.arb("nan")] * (self.s + 2)
        return self.moments.jet(ball if side > 0 else -ball, side, after=after)

    def _polynomial(self, rho: Any, after: bool) -> list[Any]:
        """``sum of a * (Taylor polynomial at c + t rho)`` over the steps, in powers of z."""
        key = (None, False) if self.plan.is_fixed else (rho, after)
        total = self._polynomials.get(key)
        if total is None:
            total = [flint.arb(0)] * (self.s + 1)
            for start, speed, change in self.steps:
                place = exact(start + speed * rho)
                jet = self._jet(place, after)
                for j in range(self.s + 1):
                    for k in range(j + 1):
                        power = (-place) ** (j - k) if j > k else flint.arb(1)
                        total[k] = total[k] + change * math.comb(j, k) * jet[j] * power
            self._polynomials[key] = total
        return total

    def _scaled(self, ball: Any, rho: Any, after: bool) -> list[Any]:
        """The polynomial at a rational rho, in powers of y = z/rho."""
        found = self._polynomial(rho, after)
        return [found[0], *(found[k] * ball**k for k in range(1, self.s + 1))]

    def _slopes(self, ball: Any, middle: Any, radius: Any) -> list[Any]:
        """The derivatives in rho of its coefficients in y, for all rho in the ball."""
        s = self.s
        changes = [flint.arb(0)] * (s + 1)  # of the coefficients in z: only D enters
        for start, speed, change in self.steps:
            if speed == 0:
                continue
            place = flint.arb(exact(start + speed * middle), exact(abs(speed)) * radius)
            side = -1 if place < 0 else 1
            top = self.moments.density(place if side > 0 else -place, side) * (speed * change)
            for k in range(s + 1):
                power = (-place) ** (s - k) if k < s else flint.arb(1)
                changes[k] = changes[k] + math.comb(s, k) * top * power
        centre = self._polynomial(middle, False)
        found = [changes[0]]
        for k in range(1, s + 1):
            value = centre[k] + changes[k] * flint.arb(0, radius)
            power = ball ** (k - 1) if k > 1 else flint.arb(1)
            found.append(k * value * power + changes[k] * ball**k)
        return found

    def density(self, ball: Any, moments: list[Any]) -> Any:
        """The density part at a reach, from the moments there."""
        s = self.s
        total = moments[s]
        for k in range(s):
            total = total + math.comb(s, k) * ball ** (s - k) * moments[k]
        return total

    def _terms(self, coefficients: list[Any]) -> list[Any]:
        """Price times coefficient of each power."""
        if self.powers is None:
            return [c * a for c, a in zip(self.costs, coefficients, strict=True)]
        return [
            sum((r * a for r, a in zip(row, coefficients, strict=True)), flint.arb(0))
            for row in self.powers
        ]


@functools.lru_cache(maxsize=256)
def inverse_of_powers(kinks: tuple[float, ...], s: int) -> tuple[tuple[Any, ...], ...]:
    """Rows that give, for a polynomial in powers of y, the price of each power at its coefficient.

    The power at t is ``((y - t)/(1 + |t|))^s``, of price 1 for ``|t| >= 1`` and 2 otherwise, and 1
    at t = inf (Theorem Shares).
    """
    size = s + 1
    matrix = flint.fmpq_mat(size, size)
    prices: list[int] = []
    for column, t in enumerate(kinks):
        if math.isinf(t):
            matrix[0, column] = flint.fmpq(1)
            prices.append(1)
            continue
        place = rational(t)
        for k in range(size):
            value = math.comb(s, k) * (-place) ** (s - k) if k < s else flint.fmpq(1)
            matrix[k, column] = value / (1 + abs(place)) ** s
        prices.append(1 if abs(t) >= 1 else 2)
    inverse = matrix.inv()
    return tuple(tuple(prices[j] * inverse[j, k] for k in range(size)) for j in range(size))
