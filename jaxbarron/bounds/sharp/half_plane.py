"""The constant into ReLU in the Euclidean weights: a supremum over two numbers, by cells.

A particle is an interval (l, r) = (b - w, b + w), or the point zeta = b + i w; a kink t costs
``|(l - t, r - t)|``, the weight is ``|(l, r)|``, both 2^(1/2) times those of the particle, and a
line costs no more than the norm of its two values at the ends (THEORY.md, Theorem Second-order
cells).
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
from jaxbarron.bounds.sharp.evidence import Plan
from jaxbarron.bounds.sharp.moments import AbsoluteMoments
from jaxbarron.bounds.sharp.panels import Panels
from jaxbarron.bounds.sharp.plans import checked_plan

__all__ = ["HalfPlane", "Shares"]

_BITS = 128
_SERIES = 25
_ROUNDING = 1 + 2.0**-40  # sums of some hundred positive terms in doubles err by less
_TINY = 2.0**-500
# cells from these parts of the fine stretch on, and how much wider panels do for them: what panels
# lose is of third order in their width, what cells lose of second order in theirs
_COARSER = ((0.2, 16.0), (0.025, 4.0))
_UNIT = 2.0**-48  # of the largest term, in differences of a few


@dataclass(frozen=True)
class Shares:
    """A plan as numbers: the line of the tangents inside, and the shares at both ends.

    Attributes:
        start: the first place inside; inf where there is none.
        end: the last one; -inf where there is none.
        constant: of the line, rounded.
        slope: likewise.
        error: of the line's values at z, times ``1 + |z|``.
        left: the share of right particles near the left end.
        right: that of left particles near the right end.
    """

    start: float
    end: float
    constant: float
    slope: float
    error: float
    left: float
    right: float


class HalfPlane:
    """What a smooth or kinked activation costs on cells of the half plane, s = 1.

    Floats, each at least what it stands for: masses are rounded up from balls.

    Args:
        sigma: no RePU.
        end: a power of two: particles with l, r in [-end, end].
        finest: as in :class:`Panels`.
        fine: likewise.
    """

    def __init__(
        self, sigma: Activation, end: float, finest: float = 2.0**-5, fine: float = 1.0
    ) -> None:
        self.sigma, self.end = sigma, end
        self._values: dict[tuple[float, int], tuple[float, float]] = {}
        with working_precision(_BITS, _SERIES):
            self.moments = AbsoluteMoments(sigma, 1, end)
            self.reason = self.moments.reason
            if not self.reason:
                self.panels = Panels(self.moments, end, finest, fine)
                self._coarser = [
                    (least * fine, Panels(self.moments, end, width * finest, fine, self.panels))
                    for least, width in _COARSER
                    if width * finest <= fine / 4
                ]
                self.atoms = [
                    (float(p.p) / float(p.q), upper_float(abs(m))) for p, m in self.moments.atoms
                ]
                self._atom_error = 2.0**-40 * sum(abs(p) * m for p, m in self.atoms)

    # ------------------------------------------------------------------ far out and near 0

    @property
    def second_moment(self) -> float:
        """At least ``int t^2 |D|`` over [-end, end]."""
        nodes = self.panels.nodes.tolist()
        total = 0.0
        for a, b in itertools.pairwise(nodes):
            part = self.panels.piece(a, b)
            total += part.mass * part.centre**2 + 2 * abs(part.centre) * part.error + part.second
        return (total + sum(m * t * t for t, m in self.atoms)) * _ROUNDING

    @property
    def first_moments(self) -> tuple[float, float]:
        """At least ``|int t |D||``, at most ``int |t| |D|``, over [-end, end]."""
        with working_precision(_BITS, _SERIES):
            sides = [self._along(side, self.end)[1] for side in (-1, 1)]
            for place, mass in self.atoms:
                sides[int(place > 0)] += abs(exact(rational(place))) * exact(rational(mass))
            skew = upper_float(abs(sides[1] - sides[0]).abs_upper() + self._atom_error)
            inner = (sides[0] + sides[1] - self._atom_error).max(flint.arb(0))
            return skew, lower_float(inner)

    def near_zero(self, reach: float) -> float:
        """The largest ratio for ``|zeta| <= reach``: sigma by one line and the density inside."""
        slopes = [self.slope_at_zero(side) for side in (-1, 1)]
        slope = min(abs(slopes[0]), abs(slopes[1]), abs(sum(slopes)) / 2) + _UNIT
        atom = sum(mass for place, mass in self.atoms if place == 0)
        if math.isinf(reach):
            rest = max(variation_constant(self.sigma, 1).upper - atom, 0.0) + _UNIT
        else:
            rest = self._mass_within(1.5 * reach)
        return float((math.sqrt(2) * slope + atom + (1 + math.sqrt(2)) * rest) * _ROUNDING)

    def _mass_within(self, reach: float) -> float:
        rest = sum(mass for place, mass in self.atoms if 0 < abs(place) <= reach)
        with working_precision(_BITS, _SERIES):
            rest += sum(upper_float(self._along(side, reach)[0]) for side in (-1, 1))
        return rest

    def turned_to_zero(self) -> float:
        """The largest ``2^-k``, up to ``|zeta|`` of which the ratio is at most ``|slope| 2^(1/2)``.

        0 where ``slope D t <= 0`` is not known there (THEORY.md, Theorem Second-order cells).
        """
        slope = self.slope_at_zero(-1)
        smooth = math.isfinite(slope) and not any(abs(p) < 1 for p, _ in self.atoms)
        if not smooth or slope == 0:
            return 0.0
        reach = 0.5
        for side in (-1, 1):
            for start, end, sign, slack in self.moments.signs(side):
                if not start < 0.5:
                    break
                if sign is None or sign * slope * side > 0 or not slack.is_zero():
                    reach = min(reach, max(lower_float(start), 0.0))
                    break
                if not end.is_exact():
                    reach = min(reach, lower_float(end))
        while reach > 2.0**-30 and 10.01 * self._mass_within(reach) > abs(slope):
            reach /= 2
        return 2.0 ** math.floor(math.log2(reach)) / 2 if reach > 2.0**-30 else 0.0

    def slope_at_zero(self, side: int) -> float:
        """sigma'(0) from one side, to rounding; inf where it is not known."""
        return float(self._jets(np.zeros(1), side)[1][0])

    def _along(self, side: int, x: float) -> list[Any]:
        return self.moments.on_one_side(side, rational(x))

    # ------------------------------------------------------------------------- the plans

    def shares(self, plan: Plan) -> Shares:
        """The numbers of a plan whose steps are places, or one of the ends (t = -1 or 1, c = 0).

        Raises:
            UsageError: shares that do not add up (Theorem Shares).
        """
        checked_plan(plan, 1)
        left = right = 0.0
        places: list[float] = []
        sides = [t for _, t, _ in plan.steps]
        good = sides == sorted(sides) and sides.count(-1.0) <= 1 and sides.count(1.0) <= 1
        good = good and all(t == 0 or (abs(t) == 1 and c == 0) for c, t, _ in plan.steps)
        line = [flint.arb(0), flint.arb(0)]
        with working_precision(_BITS, _SERIES):
            for c, t, a in plan.steps:
                if t:
                    left, right = (a, right) if t < 0 else (left, a)
                    continue
                places.append(c)
                place, share = exact(rational(c)), exact(rational(a))
                jet = [flint.arb("nan")] * 2
                if rational(c) not in self.moments.atom_places and abs(c) <= self.end:
                    side = -1 if c < 0 else 1
                    jet = self.moments.jet(exact(rational(abs(c))), side, after=False)
                line[0] += share * (jet[0] - jet[1] * place)
                line[1] += share * jet[1]
            values = [float(x.mid()) for x in line]
            error = sum(upper_float(x.rad() + flint.arb(_UNIT) * abs(x)) for x in line)
        if not (good and all(map(math.isfinite, values)) and places == sorted(places)):
            error = math.inf
        first, last = (places[0], places[-1]) if places else (math.inf, -math.inf)
        constant, slope = (x if math.isfinite(x) else 0.0 for x in values)
        return Shares(first, last, constant, slope, error, left, right)

    # ------------------------------------------------------------------------- the cells

    def ratio(self, left: Any, right: Any, size: float, plans: Sequence[Shares]) -> tuple[Any, Any]:
        """The largest cost over weight on square cells of (l, r), and the plan that proves it.

        Args:
            left: of n cells: l from ``left`` to ``left + size``, NumPy doubles.
            right: the same for r.
            size: at least 0.
            plans: each serves the cells that hold its places inside.
        """
        shift = np.array([0.0, 1.0, 0.0, 1.0]) * size, np.array([0.0, 0.0, 1.0, 1.0]) * size
        corners = left[:, None] + shift[0], right[:, None] + shift[1]
        middle = left[:, None] + size / 2, right[:, None] + size / 2
        # |(l, r)| is at least its linear part at the middle
        weight = corners[0] * middle[0] + corners[1] * middle[1]
        weight = weight / np.maximum(np.hypot(*middle), _TINY)
        weight = np.where(weight > np.hypot(*corners) / 64, weight, 0.0)  # no cancellation
        with working_precision(_BITS, _SERIES), np.errstate(invalid="ignore", over="ignore"):
            density = self._density(left, right, size, *corners)
            lines = _Lines(self, left, right, size)
            best, which = np.full(len(left), math.inf), np.zeros(len(left), int)
            for number, plan in enumerate(plans):
                cost = density + lines.price(plan, *corners)
                found = np.where(weight > 0, cost / np.maximum(weight, _TINY), math.inf)
                top = np.max(np.where(np.isnan(found), math.inf, found), axis=1)
                which = np.where(top < best, number, which)
                best = np.minimum(best, top)
        return best * _ROUNDING, which

    def _density(self, left: Any, right: Any, size: float, at_left: Any, at_right: Any) -> Any:
        """At least the density part, at each corner."""
        inner, outer = left + size, right + size
        panels = next((p for least, p in self._coarser if size >= least), self.panels)
        total = panels.cost(inner, right, at_left, at_right)
        total += self._strip_cost(left, inner, outer - left, inner[:, None] - at_left, size)
        total += self._strip_cost(right, outer, outer - left, at_right - right[:, None], size)
        for place, mass in self.atoms:
            inside = ((place > left) & (place < outer))[:, None]
            total += np.where(inside, mass * np.hypot(at_left - place, at_right - place), 0.0)
        between = np.flatnonzero(inner > right)  # narrow intervals: the strips overlap
        for i in between:
            mass = self.panels.mass(float(left[i]), float(outer[i]))
            total[i] += mass * (outer[i] - left[i])
        return total * _ROUNDING

    def _strip_cost(self, start: Any, end: Any, longest: Any, inside: Any, size: float) -> Any:
        """Between the ends of the cell's intervals: in proportion to what is inside, or whole."""
        if size == 0:
            return np.zeros(inside.shape)
        unique, index = np.unique(start, return_inverse=True)
        ends = [(float(x), float(x + size)) for x in unique]
        bounds = [self.panels.strip(a, b) for a, b in ends]
        largest = np.array([max(abs(x), abs(y)) for x, y in bounds])
        wide = np.isinf(largest)
        mass = np.array(
            [self.panels.mass(*e) if w else 0.0 for e, w in zip(ends, wide, strict=True)]
        )
        largest[wide] = 0.0
        return longest[:, None] * (largest[index][:, None] * inside + mass[index][:, None])

    def jets(self, places: Any, toward: int) -> tuple[Any, Any]:
        """sigma and its slope, from the side that the interval is on; infinite if unknown."""
        return self._jets(places, toward)

    def _jets(self, places: Any, toward: int) -> tuple[Any, Any]:
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


class _Lines:
    """The lines of plans on cells, as affine functions of (l, r) and errors of second order."""

    def __init__(self, plane: HalfPlane, left: Any, right: Any, size: float) -> None:
        self.inner, self.right = left + size, right
        half, outer = size / 2, right + size
        self.middle = left + half, right + half
        length = self.middle[1] - self.middle[0]
        longest = np.maximum(np.abs(outer - left), np.abs(right - self.inner))
        # of each end: value, slope, and the change of the tangent at the other end with this one
        self.jets, self.turn, self.errors, self.own = [], [], [], []
        for number, (start, side) in enumerate(((left, 1), (right, -1))):
            value, slope = plane.jets(self.middle[number], side)
            rounding = _UNIT * (1 + np.abs(value) + np.abs(slope) * (length + longest))
            middle, radius = np.zeros(len(start)), np.zeros(len(start))
            if size:
                middle, radius = _strips(plane, start, size)
            facing = length if number == 0 else -length
            self.jets.append((value, slope))
            self.turn.append(middle * facing)
            self.errors.append(half * (radius * longest + 2 * half * np.abs(middle)) + rounding)
            self.own.append((np.abs(middle) + radius) * half**2 / 2 + rounding)

    def price(self, plan: Shares, at_left: Any, at_right: Any) -> Any:
        """At least what the line of a plan costs at each corner (cells, 4)."""
        moved = at_left - self.middle[0][:, None], at_right - self.middle[1][:, None]
        ends = at_left, at_right
        values, errors = [], []
        for here in (0, 1):
            value = plan.constant + plan.slope * ends[here]
            error = plan.error * (1 + np.abs(ends[here]).max(axis=1, initial=0.0))
            error = error + _UNIT * (
                abs(plan.constant) + abs(plan.slope) * np.abs(ends[here]).max()
            )
            for tangent, share in ((0, plan.left), (1, plan.right)):
                if not share:
                    continue
                (a, da), here_too = self.jets[tangent], here == tangent
                if here_too:
                    value = value + share * (a[:, None] + da[:, None] * moved[here])
                    error = error + share * self.own[tangent]
                else:
                    far = ends[here] - self.middle[tangent][:, None]
                    turned = self.turn[tangent][:, None] * moved[tangent]
                    value = value + share * (a[:, None] + da[:, None] * far + turned)
                    error = error + share * self.errors[tangent]
            values.append(value)
            errors.append(error)
        x, y = values
        cost = np.where(x * y >= 0, np.hypot(x, y), np.abs(x) + np.abs(y))
        cost = cost + (errors[0] + errors[1])[:, None]
        serves = (plan.start >= self.inner) & (plan.end <= self.right)
        return np.where(serves[:, None], cost, math.inf)


def _strips(plane: HalfPlane, start: Any, size: float) -> tuple[Any, Any]:
    """D between the ends as a middle and a radius; infinite radii where it is not bounded."""
    unique, index = np.unique(start, return_inverse=True)
    bounds = np.array([plane.panels.strip(float(x), float(x + size)) for x in unique])
    known = np.all(np.isfinite(bounds), axis=1)
    middle = np.where(known, bounds.sum(axis=1) / 2, 0.0)
    radius = np.where(known, np.maximum(bounds[:, 1] - middle, middle - bounds[:, 0]), math.inf)
    return middle[index], radius[index] * (1 + 2.0**-40)
