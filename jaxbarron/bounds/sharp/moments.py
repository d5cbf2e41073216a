"""``int |D| |z|^k`` over [-rho, rho] for every rho at once, from values of sigma alone.

The sign changes of D are isolated once; then each moment is a sum of values of sigma and its
derivatives at rho and -rho (THEORY.md, Theorem Antiderivative).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import flint

from jaxbarron.activations import Activation
from jaxbarron.balls.dyadic import exact
from jaxbarron.balls.integrals import Combination
from jaxbarron.balls.roots import inner_ball, signed_stretches
from jaxbarron.balls.series import local_series
from jaxbarron.balls.suprema import Piece, upper_float
from jaxbarron.bounds.density import Constant, atom, jumps_of, rational

__all__ = ["AbsoluteMoments"]

_NAN = flint.arb("nan")


@dataclass(frozen=True, eq=False)
class _Part:
    """A stretch of one half line, in z >= 0: sign, bound of ``|D|``, and what lies before it."""

    start: Any
    end: Any
    sign: int | None
    bound: Any
    slack: Any
    before: list[Any]  # the moments up to the start
    antiderivatives: list[Any]  # at the start


class AbsoluteMoments:
    """The moments ``m_k(rho) = 1/s! int over |z| < rho of |z|^k |D(z)|``, k = 0, ..., s.

    To be used at one working precision, of at least s + 12 coefficients.
    """

    def __init__(self, sigma: Activation, s: int, end: float) -> None:
        self.sigma, self.s, self.end = sigma, s, end
        self.reason = ""
        self._factorial = math.factorial(s)
        self._kinks = jumps_of(sigma)
        self.places = {rational(k.location) for k in self._kinks}
        self._jets: dict[Any, list[Any]] = {}
        self._values: dict[Any, list[Any]] = {}
        self._combination = Combination(sigma.program, ((s + 1, flint.fmpq(1, self._factorial)),))
        self.atoms: list[tuple[Any, Any]] = []
        for kink in self._kinks:
            found = atom(sigma.program, kink, s + 1)
            if isinstance(found, Constant):
                self.reason = found.reason
                return
            if not found.is_zero():
                self.atoms.append((rational(kink.location), found / self._factorial))
        self._sides: dict[int, list[_Part]] = {side: self._parts(side) for side in (-1, 1)}

    # ------------------------------------------------------------------ what is asked for

    def jet(self, ball: Any, side: int, *, after: bool = False) -> list[Any]:
        """``sigma^(k)(side * x)/k!``, k <= s + 2, for all x in the ball; NaN where not smooth.

        At a kink the limit from within [-x, x], or from without if ``after``.
        """
        key = (side, after, ball.mid().fmpq(), ball.rad().fmpq())
        found = self._jets.get(key)
        if found is None:
            if ball.is_exact() and side * ball.fmpq() in self.places:
                point = inner_ball(side * ball.fmpq(), side if after else -side)
            else:
                point = _turned(ball, side)
            length = self.s + 3
            argument = flint.arb_series([point, 1], prec=length)
            series = local_series(self.sigma.program, argument, point)
            found = list(series.coefficients[:length])
            if not series.smooth:
                found = [found[0], *[_NAN] * (length - 1)]
            if len(self._jets) > 20000:
                self._jets.clear()
            self._jets[key] = found
        return found

    @property
    def atom_places(self) -> set[Any]:
        """Where D has atoms: there sigma^(s) jumps, and sigma has no Taylor polynomial."""
        return {place for place, _ in self.atoms}

    def size(self, ball: Any) -> Any:
        """``(|D(x)| + |D(-x)|)/s!`` for all x in the ball, atoms apart."""
        return sum((abs(self.density(ball, side)) for side in (-1, 1)), flint.arb(0))

    def density(self, ball: Any, side: int) -> Any:
        """``D(side * x)/s!`` for all x in the ball, atoms apart: the mean value theorem's, if less.

        The series at a wide ball counts sigma's own cancellations twice; that at the middle, with
        the next derivative over the ball, leaves an error of second order.
        """
        order = self.s + 1
        wide = self.jet(ball, side)
        plain = order * wide[order]
        if ball.is_exact() or not wide[order + 1].is_finite():
            return plain
        middle = self.jet(exact(ball.mid().fmpq()), side)[order]
        spread = (order + 1) * wide[order + 1] * flint.arb(0, ball.rad())
        near = order * (middle + spread)
        return near if near.rad() < plain.rad() else plain

    def at(self, rho: Any, *, after: bool = False) -> list[Any]:
        """The moments at a dyadic rational rho in [0, end]; ``after``: their limit from above."""
        found = self._values.get((rho, after))
        if found is None:
            sides = [self.on_one_side(side, rho) for side in (-1, 1)]
            found = [a + b for a, b in zip(*sides, strict=True)]
            for place, mass in self.atoms:
                if abs(place) < rho or (after and abs(place) == rho):
                    size = abs(mass)
                    found = [m + size * exact(abs(place)) ** k for k, m in enumerate(found)]
            self._values[rho, after] = found
        return found

    def over(self, low: Any, high: Any) -> list[Any]:
        """The moments for all rho from low to high: they increase."""
        return [a.union(b) for a, b in zip(self.at(low, after=True), self.at(high), strict=True)]

    def signs(self, side: int) -> list[tuple[Any, Any, int | None, Any]]:
        """The stretches of a half line, in ``|z|``: the sign of D, and ``-sign D/s!`` at most."""
        return [(part.start, part.end, part.sign, part.slack) for part in self._sides[side]]

    # --------------------------------------------------------------------------- inside

    def _parts(self, side: int) -> list[_Part]:
        end = rational(self.end)
        inside = sorted(abs(t) for t in self.places if 0 < side * t < end)
        ends = [flint.fmpq(0), *inside, end]

        def mirrored(ball: Any, length: int) -> Any:
            found = self._combination.model(_turned(ball, side), length)
            signs = [side**i for i in range(len(found.coefficients))]
            found.coefficients[:] = [e * c for e, c in zip(signs, found.coefficients, strict=True)]
            return found

        pieces = [Piece(a, b, mirrored) for a, b in itertools.pairwise(ends)]
        stretches = signed_stretches(pieces, weight=self._largest, known=0.0)
        parts: list[_Part] = []
        before = [flint.arb(0)] * (self.s + 1)
        for stretch in stretches:
            at_start = self._antiderivatives(side, stretch.start, 1)
            part = _Part(
                stretch.start, stretch.end, stretch.sign, stretch.bound, stretch.slack,
                before, at_start,
            )  # fmt: skip
            if stretch.sign is None and not stretch.bound.is_finite():
                self.reason = stretch.reason
            parts.append(part)
            before = self._through(side, part, stretch.end, -1)
        return parts

    def _largest(self, start: Any, end: Any) -> float:
        return upper_float(flint.arb((exact(end) + 1) ** self.s))

    def _antiderivatives(self, side: int, point: Any, toward: int) -> list[Any]:
        """``F_k`` with ``dF_k/dx = x^k D(side x)/s!``, from the side of the kink that is meant."""
        if point.is_exact() and side * point.fmpq() in self.places:
            place = inner_ball(side * point.fmpq(), side * toward)
        else:
            place = _turned(point, side)
        jet = self._raw_jet(place)
        values: list[Any] = []
        for k in range(self.s + 1):
            total = flint.arb(0)
            for j in range(k + 1):
                order = self.s - j
                derivative = math.factorial(order) * jet[order]
                power = _turned(place, side) ** (k - j) if k > j else flint.arb(1)
                total += (-1) ** j * math.perm(k, j) * power * side ** (j + 1) * derivative
            values.append(total / self._factorial)
        return values

    def _raw_jet(self, place: Any) -> list[Any]:
        length = max(self.s + 1, 2)
        series = local_series(self.sigma.program, flint.arb_series([place, 1], prec=length), place)
        return series.coefficients if series.smooth else [_NAN] * length

    def _through(self, side: int, part: _Part, point: Any, toward: int) -> list[Any]:
        """The moments of one side up to a point of the part, or of its end."""
        if part.sign == 0:
            return part.before
        width = point - part.start
        most = [width * point.abs_upper() ** k for k in range(self.s + 1)]
        if part.sign is None:
            shares = [part.bound * m for m in most]
            return [b + _from_zero(m) for b, m in zip(part.before, shares, strict=True)]
        there = self._antiderivatives(side, point, toward)
        result: list[Any] = []
        for k, (b, f, g) in enumerate(zip(part.before, there, part.antiderivatives, strict=True)):
            value = b + abs(f - g)
            if not part.slack.is_zero():
                value = value + _from_zero(2 * part.slack * most[k])
            result.append(value)
        return result

    def on_one_side(self, side: int, rho: Any) -> list[Any]:
        """The part of the moments that lies in side * z > 0, atoms apart; NaN beyond ``end``."""
        if rho <= 0:
            return [flint.arb(0)] * (self.s + 1)
        point = exact(rho)
        for number, part in enumerate(self._sides[side]):
            if (point > part.start and point < part.end) or point == part.end:
                return self._through(side, part, point, -1)
            if part.start.overlaps(point) or part.end.overlaps(point):
                # inside the enclosure of a root: the moments increase
                after = self._through(side, part, part.end, -1)
                if part.end.overlaps(point) and number + 1 < len(self._sides[side]):
                    following = self._sides[side][number + 1]
                    after = self._through(side, following, following.end, -1)
                return [a.union(b) for a, b in zip(part.before, after, strict=True)]
        return [_NAN] * (self.s + 1)


def _turned(ball: Any, side: int) -> Any:
    """``side * ball`` without rounding: a product could overhang a kink at its end."""
    return ball if side > 0 else -ball


def _from_zero(size: Any) -> Any:
    """The ball [0, size]."""
    return flint.arb(0).union(size.abs_upper())
