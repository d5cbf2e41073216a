"""The constant into ReLU in the Euclidean weights: a supremum over two numbers, by cells.

A particle is the point zeta = b + i w of the upper half plane, a kink t costs ``|zeta - t|``, and
the cost of one representation on a cell is convex in zeta (THEORY.md, Theorem Euclidean weights).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flint
import numpy as np

from jaxbarron.activations import Activation
from jaxbarron.balls.dyadic import exact
from jaxbarron.balls.series import working_precision
from jaxbarron.balls.suprema import lower_float, upper_float
from jaxbarron.bounds.constants import variation_constant
from jaxbarron.bounds.density import rational
from jaxbarron.bounds.sharp.moments import AbsoluteMoments

__all__ = ["HalfPlane", "Shares"]

_BITS = 128
_SERIES = 25
_PANELS = 48  # of the density, up to a place
_FINEST = 2.0**-5
_BESIDE = 2.0**-20
_ROUNDING = 1 + 2.0**-40  # sums of some hundred positive terms in doubles err by less
_UNIT = 2.0**-48  # of the largest term, in differences of a few


@dataclass(frozen=True)
class _Line:
    """A line at both ends of an interval: enclosed values there, as floats and an error."""

    left: Any
    right: Any
    error: Any


@dataclass(frozen=True)
class Shares:
    """Shares of the density that serve every interval that holds [start, end], and their line.

    The line is ``constant + slope z`` plus multiples of the tangents at both ends of the interval;
    it is rounded, and its error is part of what :class:`HalfPlane` adds.
    """

    start: float = math.inf
    end: float = -math.inf
    constant: float = 0.0
    slope: float = 0.0
    left: float = 0.0
    right: float = 0.0


class HalfPlane:
    """What a smooth or kinked activation costs on cells of the half plane, s = 1.

    Floats, each at least what it stands for: masses are rounded up from balls.
    """

    def __init__(self, sigma: Activation, end: float) -> None:
        self.sigma, self.end = sigma, end
        self._values: dict[tuple[float, int], tuple[float, float]] = {}
        self._masses: dict[float, float] = {}
        with working_precision(_BITS, _SERIES):
            self.moments = AbsoluteMoments(sigma, 1, end)
            self.reason = self.moments.reason
            if not self.reason:
                self._nodes, self._left, self._right = self._panels()
                self.atoms = [
                    (float(p.p) / float(p.q), upper_float(abs(m))) for p, m in self.moments.atoms
                ]
                self._atom_error = 2.0**-40 * sum(abs(p) * m for p, m in self.atoms)

    @property
    def second_moment(self) -> float:
        """At least ``int t^2 |D|`` over [-end, end]."""
        total = float(
            np.sum(self._left * self._nodes[:-1] ** 2 + self._right * self._nodes[1:] ** 2)
        )
        return (total + sum(m * t * t for t, m in self.atoms)) * _ROUNDING

    @property
    def first_moments(self) -> tuple[float, float]:
        """At least ``|int t |D||``, at most ``int |t| |D|``, over [-end, end]."""
        with working_precision(_BITS, _SERIES):
            sides = [self._along(side, self.end)[1] for side in (-1, 1)]
            for place, mass in self.atoms:
                sides[int(place > 0)] += abs(exact(rational(place))) * exact(rational(mass))
            skew = upper_float(abs(sides[1] - sides[0]).abs_upper() + self._atom_error)
            return skew, lower_float(sides[0] + sides[1] - self._atom_error)

    def near_zero(self, reach: float) -> float:
        """The largest ratio for ``|zeta| <= reach``: sigma by one line and the density inside."""
        slopes = [self.slope_at_zero(side) for side in (-1, 1)]
        slope = min(abs(slopes[0]), abs(slopes[1]), abs(sum(slopes)) / 2) + _UNIT
        atom = sum(mass for place, mass in self.atoms if place == 0)
        if math.isinf(reach):
            rest = max(variation_constant(self.sigma, 1).upper - atom, 0.0) + _UNIT
        else:
            rest = sum(mass for place, mass in self.atoms if 0 < abs(place) <= 1.5 * reach)
            with working_precision(_BITS, _SERIES):
                rest += sum(upper_float(self._along(side, 1.5 * reach)[0]) for side in (-1, 1))
        return float((math.sqrt(2) * slope + atom + (1 + math.sqrt(2)) * rest) * _ROUNDING)

    def slope_at_zero(self, side: int) -> float:
        """sigma'(0) from one side, to rounding; inf where it is not known."""
        return float(self._jets(np.zeros(1), side)[1][0])

    def ratio(self, left: Any, right: Any, size: float, plans: Sequence[Shares]) -> Any:
        """The largest cost over weight on square cells of (l, r), w = (r - l)/2, b = (l + r)/2."""
        corners_l = np.stack([left, left + size, left, left + size], axis=1)
        corners_r = np.stack([right, right, right + size, right + size], axis=1)
        w, b = np.abs(corners_r - corners_l) / 2, (corners_r + corners_l) / 2
        # |zeta| = |(l, r)|/sqrt 2 is at least its linear part at the middle
        middle = left[:, None] + size / 2, right[:, None] + size / 2
        size_there = np.maximum(np.hypot(*middle), 2.0**-500)
        weight = (corners_l * middle[0] + corners_r * middle[1]) / (size_there * math.sqrt(2))
        ends = left, right + size
        density = self.density(*ends, w, b)
        best = np.full(len(left), math.inf)
        for line in self.lines(*ends, plans):
            cost = density + self.price(line, *ends, w, b)
            found = np.where(weight > 0, cost / np.where(weight > 0, weight, 1.0), math.inf)
            best = np.minimum(best, np.max(found, axis=1))
        return best * _ROUNDING

    # ------------------------------------------------------------------ the density

    def _panels(self) -> tuple[Any, Any, Any]:
        """Nodes, and the masses of each panel's density at its two ends: more than its cost.

        ``|zeta - t|`` is convex in t: on a panel it lies below its chord.
        """
        step, places = _FINEST, [0.0]
        while places[-1] < self.end:
            places.append(min(places[-1] + step, self.end))
            step = max(step, 2.0 ** math.floor(math.log2(places[-1] / _PANELS)))
        nodes = [-x for x in reversed(places[1:])] + places
        left, right = list[float](), list[float]()
        for a, b in itertools.pairwise(nodes):
            side = 1 if b > 0 else -1
            near, far = sorted((abs(a), abs(b)))
            pairs = zip(self._along(side, far), self._along(side, near), strict=True)
            mass, first = (x - y for x, y in pairs)
            width = exact(rational(far) - rational(near))
            outer = (first - mass * exact(rational(near))) / width
            inner = (mass * exact(rational(far)) - first) / width
            ends = [max(upper_float(x), 0.0) for x in (inner, outer)]
            left.append(ends[0] if side > 0 else ends[1])
            right.append(ends[1] if side > 0 else ends[0])
        return np.array(nodes), np.array(left), np.array(right)

    def _along(self, side: int, x: float) -> list[Any]:
        return self.moments.on_one_side(side, rational(x))

    def _mass(self, place: float) -> tuple[float, float]:
        """The mass between a place and the next node towards 0, and that node."""
        if place not in self._masses:
            node = self._inward(place)
            with working_precision(_BITS, _SERIES):
                side = 1 if place > 0 else -1
                far, near = (self._along(side, abs(x))[0] for x in (place, node))
                self._masses[place] = max(upper_float(far - near), 0.0)
        return self._masses[place], self._inward(place)

    def _inward(self, place: float) -> float:
        nodes = self._nodes
        if place >= 0:
            return float(nodes[np.searchsorted(nodes, place, side="right") - 1])
        return float(nodes[np.searchsorted(nodes, place, side="left")])

    def density(self, left: Any, right: Any, w: Any, b: Any) -> Any:
        """At least ``int over (left, right) of |D| |zeta - t|`` at each corner (cells, 4)."""
        count = len(left)
        total = np.zeros(w.shape)
        low, high = np.empty(count), np.empty(count)
        for ends, bound in ((left, low), (right, high)):
            unique, index = np.unique(ends, return_inverse=True)
            found = np.array([self._mass(float(x)) for x in unique])
            mass, node = found[index, 0], found[index, 1]
            bound[:] = node
            far = np.maximum(np.hypot(w, b - ends[:, None]), np.hypot(w, b - node[:, None]))
            # on the wrong side of 0 the mass is no part of the interval, and is taken off below
            outward = (ends >= 0) if bound is high else (ends <= 0)
            total += np.where(outward, mass, 0.0)[:, None] * far
        # nodes that the interval holds; one that begins or ends beside 0 keeps whole panels
        low = np.where(left > 0, _below(self._nodes, left), low)
        high = np.where(right < 0, _above(self._nodes, right), high)
        starts, ends = self._nodes[:-1], self._nodes[1:]
        for k in np.flatnonzero((ends > low.min()) & (starts < high.max())):
            inside = ((starts[k] >= low) & (ends[k] <= high))[:, None]
            cost = self._left[k] * np.hypot(w, b - starts[k])
            cost += self._right[k] * np.hypot(w, b - ends[k])
            total += np.where(inside, cost, 0.0)
        for place, mass in self.atoms:
            inside = ((place > left) & (place < right))[:, None]
            total += np.where(inside, mass * np.hypot(w, b - place), 0.0)
        return total * _ROUNDING

    def density_below(self, w: float, b: float) -> float:
        """At most ``int over (b - w, b + w) of |D| |zeta - t|``: each panel at its centre of mass.

        ``|zeta - t|`` is convex in t (Jensen's inequality).
        """
        with working_precision(_BITS, _SERIES):
            left, right = rational(b) - rational(w), rational(b) + rational(w)
            inner = (rational(float(x)) for x in self._nodes)
            cuts = [left, *(x for x in inner if left < x < right), right]
            height, total = exact(rational(w)) ** 2, flint.arb(0)
            for low, high in itertools.pairwise(cuts):
                side = 1 if high > 0 else -1
                near, far = sorted((abs(low), abs(high)))
                pairs = zip(
                    self.moments.on_one_side(side, far),
                    self.moments.on_one_side(side, near),
                    strict=True,
                )
                mass, first = (x - y for x, y in pairs)
                if mass > 0:
                    place = side * first / mass - exact(rational(b))
                    total += mass * (height + place**2).sqrt()
            for place, mass in self.moments.atoms:
                if left < place < right:
                    total += abs(mass) * (height + exact(place - rational(b)) ** 2).sqrt()
            return max(lower_float(total), 0.0)

    # --------------------------------------------------------------- the polynomial

    def _jets(self, places: Any, toward: int) -> tuple[Any, Any]:
        """sigma and its slope, from the side that the interval is on."""
        unique, index = np.unique(places, return_inverse=True)
        rows: list[tuple[float, float]] = []
        for x in unique:
            key = float(x), toward
            if key not in self._values:
                with working_precision(_BITS, _SERIES):
                    side = 1 if x > 0 or (x == 0 and toward > 0) else -1
                    jet = self.moments.jet(exact(rational(abs(key[0]))), side, after=side == toward)
                    good = all(c.is_finite() and c.rad() < 1e-17 * (1 + abs(c)) for c in jet[:2])
                    self._values[key] = (
                        (float(jet[0].mid()), float(jet[1].mid())) if good else (math.inf, math.inf)
                    )
            rows.append(self._values[key])
        table = np.array(rows)[index]
        return table[:, 0], table[:, 1]

    def lines(self, left: Any, right: Any, plans: Sequence[Shares]) -> list[_Line]:
        """The polynomials of several shares; those that do not serve a cell are infinite there."""
        with np.errstate(invalid="ignore"):
            width = right - left
            (a, da), (b, db) = self._jets(left, 1), self._jets(right, -1)
            size = np.abs(a) + np.abs(b) + (np.abs(da) + np.abs(db)) * width
            far_left, far_right = b - db * width, a + da * width
            found: list[_Line] = []
            for plan in plans:
                values = [
                    plan.constant + plan.slope * x + plan.left * y + plan.right * z
                    for x, y, z in ((left, a, far_left), (right, far_right, b))
                ]
                more = abs(plan.constant) + abs(plan.slope) * (np.abs(left) + np.abs(right))
                serves = (left < plan.start) & (right > plan.end)
                error = np.where(serves, _UNIT * (size + more), math.inf)
                found.append(_Line(values[0], values[1], error))
        return found

    def turns(self) -> list[Shares]:
        """Right particles where D > 0 and left ones elsewhere, and the other way round."""
        places: list[float] = []
        for side in (-1, 1):
            parts = [p for p in self.moments.signs(side) if p[2] is not None]
            for before, after in itertools.pairwise(parts):
                if before[2] != after[2]:
                    places.append(side * float(after[0].mid()))
        places = sorted(x for x in places if all(abs(x - p) > _BESIDE for p, _ in self.atoms))
        constant = slope = 0.0
        for number, place in enumerate(places):
            value, tangent = (float(x[0]) for x in self._jets(np.array([place]), 1))
            constant += (-1) ** number * (value - tangent * place)
            slope += (-1) ** number * tangent
        if not places or not math.isfinite(constant):
            return []
        odd, inside = len(places) % 2, (places[0], places[-1])
        return [
            Shares(*inside, constant, slope, 0.0, 1.0 - odd),
            Shares(*inside, -constant, -slope, 1.0, float(odd)),
        ]

    def price(self, line: _Line, left: Any, right: Any, w: Any, b: Any) -> Any:
        """At least what a line costs at each corner (cells, 4), by the cheaper of two ways."""
        with np.errstate(invalid="ignore"):
            at_left, at_right = (np.abs(x) + line.error for x in (line.left, line.right))
            width = (right - left)[:, None]
            two = at_right[:, None] * np.hypot(w, b - left[:, None])
            two = (two + at_left[:, None] * np.hypot(w, b - right[:, None])) / width
            # one particle, its kink outside: where the line has one sign on the interval
            clear = np.minimum(np.abs(line.left), np.abs(line.right)) > 2 * line.error
            single = (line.left * line.right > 0) & clear
            slope = ((line.right - line.left) / (right - left))[:, None]
            value = line.left[:, None] + slope * (b - left[:, None])
            more = line.error[:, None] * (2 + 4 * (np.abs(w) + np.abs(b - left[:, None])) / width)
            one = np.hypot(value, slope * w) + more
            cost = np.where(single[:, None], np.minimum(one, two), two)
        return np.where(np.isnan(cost), math.inf, cost) * _ROUNDING


def _below(nodes: Any, places: Any) -> Any:
    return nodes[np.maximum(np.searchsorted(nodes, places, side="right") - 1, 0)]


def _above(nodes: Any, places: Any) -> Any:
    return nodes[np.minimum(np.searchsorted(nodes, places, side="left"), len(nodes) - 1)]
