"""Cells of D = f^(s+1), f(y) = sigma(w y + b) on [-1, 1], and their moments, as enclosures.

The signs of D are proved (THEORY.md, Theorem Sign stretches); moments are differences of values
(THEORY.md, Theorem Antiderivative).  A root of D is a cell of its own, too narrow to matter, in
which no sign is claimed.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import flint

from jaxbarron.balls.dyadic import exact
from jaxbarron.balls.integrals import Combination
from jaxbarron.balls.roots import inner_ball, signed_stretches
from jaxbarron.balls.series import local_series
from jaxbarron.balls.suprema import Piece
from jaxbarron.balls.weights import evaluate
from jaxbarron.bounds.density import Constant, Jumps, atom, rational
from jaxbarron.programs import Program

__all__ = ["Cell", "Cells", "Rough", "cells_of"]

_QUADRATURE = 24  # Taylor coefficients on a tile, where a weight is no polynomial
_SLIVER = 2**20  # parts of a cell: what a tile keeps away from a kink
_TILE = 8  # a tile is no wider than an eighth, in y and in the activation's own argument


@dataclass(frozen=True)
class Rough:
    """Why D is no measure, or could not be bounded; ``proved``: the norm is infinite."""

    reason: str
    proved: bool


@dataclass(frozen=True, eq=False)
class Cell:
    """A stretch of kinks t, or one atom of D (start = end).

    Attributes:
        start: rational.
        end: rational.
        sign: of D; None where it is not known.
        mass: a ball of ``|D|(cell)/s!``; where the sign is not known, of an upper bound of it.
        moments: balls of ``int t^k D(dt)/s!``, k = 0, ..., s, with D's sign.
        doubt: at most so much of the mass may have another sign.
    """

    start: Any
    end: Any
    sign: int | None
    mass: Any
    moments: tuple[Any, ...]
    doubt: Any

    def integral(self, polynomial: Sequence[Any]) -> tuple[Any, Any]:
        """Lower and upper bounds of ``int |p| d|D|/s!``, p of one sign on the cell."""
        terms = zip(polynomial, self.moments, strict=True)
        signed = abs(sum((c * m for c, m in terms), flint.arb(0)))
        largest = self.largest(polynomial)
        if self.sign is None:
            return signed.lower().max(0), (self.mass * largest).abs_upper()
        doubt = 2 * self.doubt * largest
        return (signed.lower() - doubt).max(0), signed.abs_upper() + doubt

    def largest(self, polynomial: Sequence[Any]) -> Any:
        """At least the modulus of a polynomial on the cell."""
        middle, radius = (self.start + self.end) / 2, (self.end - self.start) / 2
        ball = flint.arb(middle, flint.arb(radius).abs_upper())
        return evaluate(polynomial, ball).abs_upper()


@dataclass(frozen=True, eq=False)
class Cells:
    """f as the interval theorem sees it: signed stretches of D, which can be cut anywhere.

    Attributes:
        program: sigma.
        s: the power of RePU_s.
        spread: w > 0, a dyadic rational.
        offset: b, a dyadic rational.
        kinks: the places z of the kinks of sigma.
        stretches: (start, end, sign, bound of ``|sigma^(s+1)|`` if the sign is None, slack) in z.
        atoms: place z and jump of sigma^(s), inside the interval.
    """

    program: Program
    s: int
    spread: Any
    offset: Any
    kinks: tuple[Any, ...]
    stretches: tuple[tuple[Any, Any, int | None, Any, Any], ...]
    atoms: tuple[tuple[Any, Any], ...]

    def at(self, cuts: Iterable[Any]) -> list[Cell]:
        """The cells between the given rational t, and the atoms, in order."""
        places = sorted({self.offset + self.spread * t for t in cuts})
        found: list[Cell] = []
        for start, end, sign, bound, slack in self.stretches:
            first, last = bisect.bisect_right(places, start), bisect.bisect_left(places, end)
            ends = [start, *places[first:last], end]
            found.extend(self._cell(a, b, sign, bound, slack) for a, b in itertools.pairwise(ends))
        for place, jump in self.atoms:
            t = (place - self.offset) / self.spread
            mass = jump * self.spread**self.s / math.factorial(self.s)
            sign = 1 if mass > 0 else -1 if mass < 0 else None
            moments = tuple(mass * t**k for k in range(self.s + 1))
            found.append(Cell(t, t, sign, abs(mass), moments, flint.arb(0)))
        return found

    def _cell(self, start: Any, end: Any, sign: int | None, bound: Any, slack: Any) -> Cell:
        left, right = self._antiderivatives(start, 1), self._antiderivatives(end, -1)
        moments = tuple((b - a) / math.factorial(self.s) for a, b in zip(left, right, strict=True))
        unit = (end - start) * self.spread**self.s / math.factorial(self.s)
        mass = bound * unit if sign is None else abs(moments[0])
        t0, t1 = ((z - self.offset) / self.spread for z in (start, end))
        return Cell(t0, t1, sign, mass, moments, slack * unit)

    def jet(self, place: Any, side: int) -> tuple[Any, ...]:
        """f, f', ..., f^(s) at a place z, at a kink from one side."""
        return self._jets(place, side if place in self.kinks else 0)

    @functools.cached_property
    def _jets(self) -> Any:
        return functools.cache(self._jet)

    def _jet(self, place: Any, side: int) -> tuple[Any, ...]:
        ball = inner_ball(place, side) if side else exact(place)
        length = self.s + 1
        found = local_series(self.program, flint.arb_series([ball, 1], prec=max(length, 2)), ball)
        if not found.smooth:
            return (flint.arb("nan"),) * length
        return tuple(
            found.coefficients[k] * math.factorial(k) * self.spread**k for k in range(length)
        )

    def _antiderivatives(self, place: Any, side: int) -> list[Any]:
        """``sum_j (-1)^j (t^k)^(j) f^(s-j)``, whose derivative is t^k D, for k = 0, ..., s."""
        t, jet, s = (place - self.offset) / self.spread, self.jet(place, side), self.s
        return [
            sum(
                ((-1) ** j * math.perm(k, j) * t ** (k - j) * jet[s - j] for j in range(k + 1)),
                flint.arb(0),
            )
            for k in range(s + 1)
        ]

    def taylor(self, end: int) -> list[Any]:
        """The coefficients of the Taylor polynomial of degree s at an end, -1 or 1."""
        jet = self.jet(self.offset + end * self.spread, -end)
        total = [flint.arb(0)] * (self.s + 1)
        for k, value in enumerate(jet):
            for i in range(k + 1):
                share = flint.fmpq(math.comb(k, i) * (-end) ** (k - i), math.factorial(k))
                total[i] += share * value
        return total

    def hypotenuse_integral(self, cell: Cell) -> Any:
        """``int (1 + t^2)^(s/2) D(dt)/s!`` over a cell of one sign, signed.

        By Taylor models on tiles.  No ball around a tile may hold a kink: beside one a sliver is
        left out, on which the weight is nearly constant and D has the mass of its cell.
        """
        if cell.start == cell.end:
            return cell.moments[0] * _hypotenuse(self.s, flint.arb(cell.start))
        start, end, total = cell.start, cell.end, flint.arb(0)
        sliver = (end - start) / _SLIVER
        if self.offset + self.spread * start in self.kinks:
            total += self._on_sliver(start, start + sliver)
            start += sliver
        if self.offset + self.spread * end in self.kinks:
            total += self._on_sliver(end - sliver, end)
            end -= sliver
        width = (end - start) * max(flint.fmpq(1), self.spread)
        count = math.ceil(float(width) * _TILE)
        step = (end - start) / count
        for i in range(count):
            total += self._on_tile(start + step * i + step / 2, step / 2)
        return total

    def _on_sliver(self, start: Any, end: Any) -> Any:
        """The same where D has one sign, between the least and the largest weight."""
        places = (self.offset + self.spread * t for t in (start, end))
        left, right = (
            self._antiderivatives(place, side)[0]
            for place, side in zip(places, (1, -1), strict=True)
        )
        middle, radius = (start + end) / 2, (end - start) / 2
        ball = flint.arb(middle, flint.arb(radius).abs_upper())
        return (right - left) / math.factorial(self.s) * _hypotenuse(self.s, ball)

    def _on_tile(self, middle: Any, radius: Any) -> Any:
        size = flint.arb(radius)
        wide = flint.arb(middle, size.abs_upper())
        near, far = (self._product(ball) for ball in (flint.arb(middle), wide))
        total = flint.arb(0)
        for k in range(0, _QUADRATURE, 2):
            total += 2 * near[k] * size ** (k + 1) / (k + 1)
        rest = 2 * size ** (_QUADRATURE + 1) * far[_QUADRATURE].abs_upper()
        return total + flint.arb(0, rest.abs_upper())

    def _product(self, t: Any) -> list[Any]:
        """Taylor coefficients in t of ``(1 + t^2)^(s/2) D(t)/s!`` at every point of a ball."""
        length, order = _QUADRATURE + 1, self.s + 1
        z = t * self.spread + self.offset
        argument = flint.arb_series([z, flint.arb(self.spread)], prec=length + order)
        found = local_series(self.program, argument, z)
        if not found.smooth:
            return [flint.arb("nan")] * length
        factor = math.factorial(self.s)
        d = [found.coefficients[i + order] * math.perm(i + order, order) for i in range(length)]
        density = flint.arb_series(d, prec=length)
        square = flint.arb_series([1 + t * t, 2 * t, 1], prec=length)
        product = density * square.sqrt() ** self.s
        return [product[k] / factor for k in range(length)]


def _hypotenuse(s: int, t: Any) -> Any:
    return (1 + t**2) ** flint.fmpq(s, 2)


def cells_of(
    program: Program, kinks: tuple[Jumps, ...], s: int, w: float, b: float
) -> Cells | Rough:
    """The stretches of D with proved signs; call within ``working_precision``."""
    spread, offset = rational(w), rational(b)
    start, end = offset - spread, offset + spread
    places = tuple(rational(k.location) for k in kinks)
    atoms: list[tuple[Any, Any]] = []
    for kink, place in zip(kinks, places, strict=True):
        if start < place < end:
            found = atom(program, kink, s + 1)
            if isinstance(found, Constant):
                return Rough(found.reason, math.isinf(found.lower))
            atoms.append((place, found))
    combination = Combination(program, ((s + 1, flint.fmpq(1)),))
    for z in (start, end):
        if z not in places and not combination.model(exact(z), 1).smooth:
            return Rough(f"may have a kink at the end z = {float(z):.6g}; declare it", False)
    ends = [start, *sorted(z for z in set(places) if start < z < end), end]
    pieces = [Piece(x, y, combination.model) for x, y in itertools.pairwise(ends)]
    stretches: list[tuple[Any, Any, int | None, Any, Any]] = []
    zero, last = flint.arb(0), start
    for stretch in signed_stretches(pieces, weight=lambda x, y: 1.0, known=0.0):
        if stretch.reason:
            return Rough(stretch.reason, False)
        low, high = stretch.start.upper().fmpq(), stretch.end.lower().fmpq()
        if low > last:  # a root lies between: no sign is claimed there
            stretches.append((last, low, None, _size(combination, last, low), zero))
        sign = stretch.sign
        bound = zero if sign == 0 else stretch.bound
        if low < high:
            stretches.append((max(low, last), high, sign or None, bound, stretch.slack))
        last = max(high, last)
    if last < end:
        stretches.append((last, end, None, _size(combination, last, end), zero))
    return Cells(program, s, spread, offset, places, tuple(stretches), tuple(atoms))


def _size(combination: Combination, start: Any, end: Any) -> Any:
    middle, radius = (start + end) / 2, (end - start) / 2
    ball = flint.arb(middle, flint.arb(radius).abs_upper())
    return combination.model(ball, 1).coefficients[0].abs_upper()
