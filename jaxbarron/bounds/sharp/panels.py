"""What the density costs on intervals, s = 1: a few numbers for each panel, rounded up from balls.

A kink t costs ``|(l - t, r - t)|`` on the interval (l, r), which is 2^(1/2) ``|zeta - t|`` for
zeta = (l + r)/2 + i (r - l)/2 (THEORY.md, Theorem Second-order cells).
"""

from __future__ import annotations

import bisect
import itertools
import math
from typing import Any, NamedTuple

import flint
import numpy as np

from jaxbarron.balls.dyadic import exact
from jaxbarron.balls.suprema import upper_float
from jaxbarron.bounds.density import rational
from jaxbarron.bounds.sharp.moments import AbsoluteMoments

__all__ = ["Panel", "Panels"]

_WIDEST = 16  # panels are no wider than this part of their distance from 0, or than the finest
_FINEST = 2.0**-30
_ROWS = 1 << 19  # corners times panels at a time
_TINY = 2.0**-300  # its cube is a float


class Panel(NamedTuple):
    """Of ``|D|`` on an interval, atoms apart: each number at least what it stands for.

    Attributes:
        mass: the whole.
        centre: a float near the centre of mass.
        error: the first moment about it.
        second: the second moment about it.
        radius: the distance from it to the farther end.
    """

    mass: float
    centre: float
    error: float
    second: float
    radius: float


class Panels:
    """The density of sigma on [-end, end], cut at nodes, and at any other float on demand.

    To be used at the working precision of the moments.

    Args:
        moments: of sigma, s = 1, up to ``end`` at least.
        end: a power of two.
        finest: a power of two: no panel is wider than this within ``fine`` of 0.
        fine: likewise.
        known: other panels of the same density, whose numbers serve these too.
    """

    def __init__(
        self,
        moments: AbsoluteMoments,
        end: float,
        finest: float,
        fine: float,
        known: Panels | None = None,
    ) -> None:
        self.moments = moments
        self._strips: dict[tuple[float, float], tuple[float, float]] = {}
        self._sums: dict[float, tuple[Any, Any]] = {}
        self._pieces: dict[tuple[float, float], Panel] = {}
        if known is not None:
            self._strips, self._sums, self._pieces = known._strips, known._sums, known._pieces
        self.nodes = self._nodes(end, max(finest, _FINEST), fine)
        self._list = self.nodes.tolist()
        self._rows = _rows([self.piece(a, b) for a, b in itertools.pairwise(self._list)])

    @staticmethod
    def _nodes(end: float, finest: float, fine: float) -> Any:
        places = [0.0]
        while places[-1] < end:
            here = places[-1]
            step = finest
            if here >= fine:
                step = max(finest, 2.0 ** math.floor(math.log2(max(here, _TINY) / _WIDEST)))
            places.append(min(here + step, end))
        return np.array([-x for x in reversed(places[1:])] + places)

    # ------------------------------------------------------------------ single intervals

    def piece(self, start: float, end: float) -> Panel:
        """The numbers of one interval, which holds no node inside."""
        key = start, end
        found = self._pieces.get(key)
        if found is None:
            found = self._pieces[key] = self._piece(start, end)
        return found

    def _piece(self, start: float, end: float) -> Panel:
        if not end > start:
            return Panel(0.0, start, 0.0, 0.0, 0.0)
        (m0, f0), (m1, f1) = self._sum(start), self._sum(end)
        mass, first = m1 - m0, f1 - f0
        top = max(upper_float(mass), 0.0)
        if top == 0:
            return Panel(0.0, start, 0.0, 0.0, 0.0)
        middle = float((first / mass).mid()) if mass > 0 else (start + end) / 2
        middle = min(max(middle, start), end) if math.isfinite(middle) else (start + end) / 2
        error = upper_float(abs(first - mass * exact(rational(middle))).abs_upper())
        low, high = middle - start, end - middle
        # Bhatia and Davis; or the largest density, about the middle of the interval
        second = top * low * high + error * max(low, high)
        bounds = self.strip(self._around(start), self._around(end, above=True))
        largest = max(abs(bounds[0]), abs(bounds[1]))
        second = min(second, largest * (end - start) ** 3 / 12 + 2 * error * max(low, high))
        return Panel(top, middle, error, second, max(low, high))

    def _around(self, place: float, *, above: bool = False) -> float:
        """The node at or below a place, or at or above."""
        nodes = self._list
        if above:
            return nodes[min(bisect.bisect_left(nodes, place), len(nodes) - 1)]
        return nodes[max(bisect.bisect_right(nodes, place) - 1, 0)]

    def _sum(self, place: float) -> tuple[Any, Any]:
        """``int |D|`` and ``int t |D|`` from 0 to a place."""
        found = self._sums.get(place)
        if found is None:
            side = 1 if place > 0 else -1
            mass, first = self.moments.on_one_side(side, rational(abs(place)))
            found = self._sums[place] = (side * mass, first)
        return found

    def mass(self, start: float, end: float) -> float:
        """At least ``int |D|`` over an interval, atoms apart."""
        return max(upper_float(self._sum(end)[0] - self._sum(start)[0]), 0.0)

    def strip(self, start: float, end: float) -> tuple[float, float]:
        """Bounds of D inside an interval that 0 does not cut; infinite where there are none."""
        key = start, end
        found = self._strips.get(key)
        if found is None:
            found = self._strips[key] = self._strip(start, end)
        return found

    def _strip(self, start: float, end: float) -> tuple[float, float]:
        side = 1 if start + end > 0 else -1
        near, far = sorted((abs(start), abs(end)))
        if start < 0 < end or any(rational(start) < p < rational(end) for p in self.moments.places):
            return -math.inf, math.inf
        middle, radius = (rational(near) + rational(far)) / 2, (rational(far) - rational(near)) / 2
        # a radius that is a power of two, given like this, is exact: the ball may end at a kink
        ball = self.moments.density(flint.arb(_parts(middle), _parts(radius)), side)
        if not ball.is_finite():
            return -math.inf, math.inf
        low, high = float(ball.lower()), float(ball.upper())
        return math.nextafter(low, -math.inf), math.nextafter(high, math.inf)

    # ------------------------------------------------------------------- many intervals

    def cost(self, low: Any, high: Any, left: Any, right: Any) -> Any:
        """At least ``int over (low, high) of |D| |(left - t, right - t)|`` at each corner.

        Args:
            low: of n intervals, NumPy doubles.
            high: likewise; 0 for those that are empty.
            left: (n, corners).
            right: (n, corners).
        """
        first = np.searchsorted(self.nodes, low, side="left")
        last = np.searchsorted(self.nodes, high, side="right") - 1
        total = np.zeros(left.shape)
        whole = np.maximum(last - first, 0)
        step = max(int(_ROWS // (left.shape[1] * max(int(whole.max(initial=1)), 1))), 1)
        order = np.argsort(first, kind="stable")
        for begin in range(0, len(order), step):
            part = order[begin : begin + step]
            a, b = int(first[part].min()), int(last[part].max())
            if b > a:
                columns = np.arange(a, b)
                inside = (columns >= first[part, None]) & (columns < last[part, None])
                rows = [x[a:b] for x in self._rows]
                found = _costs(rows, left[part, :, None], right[part, :, None])
                total[part] += np.einsum("ncp,np->nc", found, inside)
        total += self._ends(low, high, first, last, left, right)
        return total * (1 + 2.0**-40)

    def _ends(self, low: Any, high: Any, first: Any, last: Any, left: Any, right: Any) -> Any:
        """What lies between the ends of the intervals and the nodes next to them, inside."""
        pairs: list[list[Panel]] = [[], []]
        empty = Panel(0.0, 0.0, 0.0, 0.0, 0.0)
        rows = zip(low.tolist(), high.tolist(), first.tolist(), last.tolist(), strict=True)
        for a, b, i, j in rows:
            if not b > a:
                found = empty, empty
            elif i > j:
                found = self.piece(a, b), empty
            else:
                found = self.piece(a, self._list[i]), self.piece(self._list[j], b)
            pairs[0].append(found[0])
            pairs[1].append(found[1])
        total = np.zeros(left.shape)
        for pieces in pairs:
            total += _costs([x[:, None] for x in _rows(pieces)], left, right)
        return total


def _parts(dyadic: Any) -> tuple[Any, int]:
    return dyadic.p, 1 - int(dyadic.q).bit_length()


def _costs(rows: Any, left: Any, right: Any) -> Any:
    """What panels cost at least, elementwise: Taylor's formula at their centres of mass."""
    mass, centre, constant, second, radius, most = rows
    below, above = left - centre, right - centre
    there = np.sqrt(below * below + above * above)
    nearest = there - radius
    # where the nearest is much nearer its rounding is no longer negligible
    nearest = np.where(nearest > there / 16, nearest, _TINY)
    length = right - left
    bend = length * length / (2 * nearest * nearest * nearest)
    more = np.minimum(bend, 1 / np.maximum(there, _TINY)) * second
    return mass * there + constant + np.minimum(more, most)


def _rows(panels: list[Panel]) -> Any:
    """What :func:`_costs` needs of panels, one row for each number."""
    mass, centre, error, second, radius = np.array(panels, float).reshape(-1, 5).T
    half = math.sqrt(2) * (1 + 2.0**-50)
    return np.stack([mass, centre, half * error, second, half * radius, np.sqrt(2 * mass * second)])
