"""Integrals of p |g|, g a combination of derivatives and p a piecewise polynomial: no quadrature.

Between two sign changes of g the integral is a difference of values of the function's derivatives
(THEORY.md, Theorem Antiderivative); beyond a point it follows from the expansion at infinity, or is
bounded by the tail calculus (:mod:`jaxbarron.balls.remainders`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flint

from jaxbarron.balls.dyadic import exact
from jaxbarron.balls.remainders import Decaying, Divergent, Settled, Unbounded, remainder
from jaxbarron.balls.roots import Stretch, inner_ball, signed_stretches
from jaxbarron.balls.series import LocalSeries, local_series, working_precision
from jaxbarron.balls.suprema import Piece, lower_float, upper_float
from jaxbarron.balls.weights import Weight, evaluate
from jaxbarron.programs import Program

__all__ = ["Combination", "Integral", "absolute_integral"]

_PRECISIONS = (192, 384, 768)
_SERIES = 32
_SHARP = 2e-14  # relative width at which the precision is no longer raised
_NEGLIGIBLE = 2e-15  # of the whole: what a bounded tail may hold


@dataclass(frozen=True)
class Integral:
    """``lower <= integral <= upper``; ``reason`` says why it is infinite, or not bounded."""

    lower: float
    upper: float
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Combination:
    """``g = sum_k a_k sigma^(k)``; ``terms`` holds the pairs (k, a_k), a_k exact rationals."""

    program: Program
    terms: tuple[tuple[int, Any], ...]

    @property
    def order(self) -> int:
        """The highest derivative."""
        return max(k for k, _ in self.terms)

    def model(self, ball: Any, length: int) -> LocalSeries:
        """The first Taylor coefficients of g at every point of a ball."""
        count = self.order + length
        found = local_series(self.program, flint.arb_series([ball, 1], prec=max(count, 2)), ball)
        mine = [
            sum(
                (a * math.perm(i + k, k) * found.coefficients[i + k] for k, a in self.terms),
                flint.arb(0),
            )
            for i in range(length)
        ]
        return LocalSeries(mine, found.smooth, found.open_ends)

    def antiderivative(self, polynomial: Sequence[Any], ball: Any) -> Any:
        """``sum_k a_k sum_j (-1)^j p^(j) sigma^(k-1-j)``, whose derivative is p g.

        It needs k >= 1 + degree of p for each k.  At a kink a tiny ball beside it gives the limit
        from that side.  Not a number where a branch is undecided.
        """
        length = max(self.order, 2)
        found = local_series(self.program, flint.arb_series([ball, 1], prec=length), ball)
        if not found.smooth:
            return flint.arb("nan")
        total, derivative = flint.arb(0), list(polynomial)
        for j in range(len(polynomial)):
            value = (-1) ** j * evaluate(derivative, ball)
            for k, a in self.terms:
                order = k - 1 - j
                total += a * value * math.factorial(order) * found.coefficients[order]
            derivative = [i * c for i, c in enumerate(derivative)][1:]
        return total


def absolute_integral(
    combination: Combination,
    weight: Weight,
    start: Any = None,
    end: Any = None,
    *,
    kinks: Sequence[Any] = (),
) -> Integral:
    """``int p(t) |g(t)| dt`` between the kinks from start to end (Theorem Antiderivative).

    Args:
        combination: g, of derivatives of order at least 1 + the degree of p.
        weight: p.
        start: a dyadic rational (``fmpq``); None for -infinity.
        end: a dyadic rational above it; None for +infinity.
        kinks: the dyadic rationals at which g, or what it is a derivative of, may jump.

    Returns:
        The enclosure; ``upper`` is inf, with a reason, where the integral is infinite or g could
        not be bounded.  ``lower`` is inf too where the integral is proved to be infinite.

    Example:
        >>> from jaxbarron.balls.weights import unit_weight
        >>> from jaxbarron.programs import trace
        >>> import jax.numpy as jnp
        >>> g = Combination(trace(jnp.tanh), ((2, flint.fmpq(1)),))
        >>> found = absolute_integral(g, unit_weight())
        >>> found.lower <= 2.0 <= found.upper < 2.0 + 1e-12
        True
    """
    best: Integral | None = None
    for bits in _PRECISIONS:
        with working_precision(bits, _SERIES):
            found = _at_this_precision(combination, weight, start, end, kinks)
        width = found.upper - found.lower
        # What a higher precision did not narrow, an even higher one will not.
        if best is not None and not 2 * width <= best.upper - best.lower:
            break
        best = found
        if not (math.isfinite(width) and width > _SHARP * best.lower):
            break
    assert best is not None
    return best


# ------------------------------------------------------------- at one precision


@dataclass(frozen=True, eq=False)
class _Run:
    combination: Combination
    weight: Weight
    kinks: tuple[Any, ...]

    def stretches(self, start: Any, end: Any, known: float) -> list[Stretch]:
        ends = [start, *sorted(k for k in set(self.kinks) if start < k < end), end]
        pieces = [Piece(a, b, self.combination.model) for a, b in itertools.pairwise(ends)]
        return signed_stretches(pieces, weight=self.weight.largest, known=known)

    def rough_end(self, *ends: Any) -> str:
        """Why an end of the interval is suspect: what jumps there is no part of any stretch."""
        for end in ends:
            if end is None or end in self.kinks:
                continue
            if not self.combination.model(exact(end), 1).smooth:
                return f"may have a kink at the end z = {float(end):.6g}; declare it"
        return ""

    def at(self, point: Any, polynomial: Sequence[Any], side: int) -> Any:
        """The antiderivative at an end of a stretch, seen from that side."""
        for kink in self.kinks:
            if point.is_exact() and point == exact(kink):
                point = inner_ball(kink, side)
                break
        return self.combination.antiderivative(polynomial, point)

    def over(self, stretches: Sequence[Stretch]) -> tuple[Any, Any, str]:
        """A lower and an upper bound of the integral over stretches, and why there is none."""
        lower, upper, reason, narrowest = flint.arb(0), flint.arb(0), "", None
        for stretch in stretches:
            if stretch.sign == 0:
                continue
            width = stretch.end - stretch.start
            if stretch.sign is None:
                share = stretch.bound * width * self._largest(stretch)
                if not share.is_finite() and (narrowest is None or width < narrowest):
                    reason, narrowest = stretch.reason, width
                upper += share.abs_upper() if share.is_finite() else flint.arb("inf")
                continue
            value = flint.arb(0)
            for a, b, polynomial in self._parts(stretch):
                value += self.at(b, polynomial, -1) - self.at(a, polynomial, 1)
            if not value.is_finite():
                upper = flint.arb("inf")
                reason = f"could not be bounded near z = {float(stretch.start.mid()):.6g}"
                continue
            value = abs(value)
            doubt = self._doubt(stretch)
            lower += value.lower() - doubt
            upper += value.upper() + doubt
            if not stretch.slack.is_zero():
                upper += 2 * stretch.slack * width * self._largest(stretch)
        return lower, upper, reason

    def _parts(self, stretch: Stretch) -> list[tuple[Any, Any, tuple[Any, ...]]]:
        """The stretch cut at the breaks of the weight, with the polynomial of each part."""
        inside = [b for b in self.weight.breaks if stretch.start < exact(b) < stretch.end]
        ends = [stretch.start, *(exact(b) for b in inside), stretch.end]
        middles = [(a + b).mid() / 2 for a, b in itertools.pairwise(ends)]
        polynomials = [self.weight.polynomial_at(m.fmpq()) for m in middles]
        return [(a, b, p) for (a, b), p in zip(itertools.pairwise(ends), polynomials, strict=True)]

    def _doubt(self, stretch: Stretch) -> Any:
        """What a break inside the enclosure of a root adds: the wrong polynomial, on that ball."""
        total = flint.arb(0)
        for ball in (stretch.start, stretch.end):
            for number, point in enumerate(self.weight.breaks):
                if not ball.is_exact() and ball.contains(exact(point)):
                    near = self.weight.polynomials[number : number + 2]
                    size = sum((evaluate(p, ball).abs_upper() for p in near), flint.arb(0))
                    g = self.combination.model(ball, 1).coefficients[0]
                    total += 2 * ball.rad() * size * g.abs_upper()
        return total

    def _largest(self, stretch: Stretch) -> Any:
        ends = stretch.start.lower().fmpq(), stretch.end.upper().fmpq()
        return flint.arb(self.weight.largest(*ends))


def _at_this_precision(
    combination: Combination, weight: Weight, start: Any, end: Any, kinks: Sequence[Any]
) -> Integral:
    run = _Run(combination, weight, tuple(kinks))
    reason, proved = run.rough_end(start, end), False
    marks = [*kinks, *weight.breaks, *(t for t in (start, end) if t is not None), flint.fmpq(1)]
    beyond = max(abs(t) for t in marks)
    tails: list[tuple[int, Settled | Decaying]] = []
    inner = [start, end]
    for side, bound in ((-1, start), (1, end)):
        if bound is not None:
            continue
        polynomial = weight.polynomials[0 if side < 0 else -1]
        tail = remainder(combination.program, combination.terms, polynomial, side, beyond)
        if isinstance(tail, Divergent | Unbounded):
            reason, proved = tail.reason, proved or isinstance(tail, Divergent)
            continue
        tails.append((side, tail))
        inner[(side + 1) // 2] = side * tail.start
    if proved:
        return Integral(math.inf, math.inf, reason)
    if reason:
        return Integral(0.0, math.inf, reason)
    lower, upper, reason = run.over(run.stretches(inner[0], inner[1], 0.0))
    estimate = lower_float(lower)
    for side, tail in tails:
        more = _beyond(run, side, tail, estimate)
        lower, upper, reason = lower + more[0], upper + more[1], reason or more[2]
    return Integral(lower_float(lower), upper_float(upper), reason)


def _beyond(
    run: _Run, side: int, tail: Settled | Decaying, estimate: float
) -> tuple[Any, Any, str]:
    """The bounds of the integral over the half line where the tail begins."""
    if isinstance(tail, Settled):
        polynomial = run.weight.polynomials[0 if side < 0 else -1]
        value = abs(
            tail.limit - run.combination.antiderivative(polynomial, exact(side * tail.start))
        )
        if not value.is_finite():
            return flint.arb(0), flint.arb("inf"), "could not be bounded far out"
        return value.lower(), value.upper(), ""
    far = tail.point_for(flint.arb(_NEGLIGIBLE * estimate))
    lower, upper, reason = flint.arb(0), tail.bound(far).abs_upper(), ""
    if far > tail.start:
        ends = sorted((side * tail.start, side * far))
        lower, more, reason = run.over(run.stretches(ends[0], ends[1], estimate))
        upper += more
    return lower, upper, reason
