"""Linear enclosures of scalar functions on many ranges at once, from their tables.

THEORY.md, Theorem Linear relaxation: any slope is allowed, and the range of what is left over is
that of quadratics on the pieces; of a few slopes the one that leaves least is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxbarron.bounds.networks.cells import Table

__all__ = ["Lines", "View", "enclosing_lines"]

_ROUNDING = 2.0**-48  # dozens of operations on the terms of the sums below


@dataclass(frozen=True, eq=False)
class Lines:
    """``|g(z) - slope z - offset| <= radius`` for all z in the range, elementwise."""

    slope: Any
    offset: Any
    radius: Any


def enclosing_lines(table: Table, lower: Any, upper: Any, *, level: Any = False) -> Lines:
    """Lines that enclose the table's function on each range ``[lower, upper]``, shape (n,).

    Args:
        table: must hold on all the ranges.
        lower: the ranges' lower ends.
        upper: their upper ends, none below ``lower``.
        level: where the lines must have the slope 0, a mask: there they are ranges of values.

    Example:
        >>> import numpy as np
        >>> from jaxbarron.bounds.networks.cells import Cells, Pair
        >>> from jaxbarron.programs import trace
        >>> square, _, _ = Cells(Pair(trace(lambda z: z * z))).tables(-1.0, 2.0)
        >>> lines = enclosing_lines(square, np.array([0.0]), np.array([1.0]))
        >>> [round(float(x[0]), 6) for x in (lines.slope, lines.offset, lines.radius)]
        [1.0, -0.125, 0.125]
    """
    view = View(table, lower, upper)
    if np.all(level):
        return view.around(np.zeros(len(lower)))
    found: Lines | None = None
    for slope in view.slopes():
        lines = view.around(np.where(level, 0.0, slope))
        if found is None:
            found = lines
            continue
        better = lines.radius < found.radius
        found = Lines(
            np.where(better, lines.slope, found.slope),
            np.where(better, lines.offset, found.offset),
            np.where(better, lines.radius, found.radius),
        )
    assert found is not None
    return found


class View:
    """The pieces that each range meets, one after the other in flat arrays."""

    def __init__(self, table: Table, lower: Any, upper: Any) -> None:
        last = len(table.middle) - 1
        first = np.clip(np.searchsorted(table.edges, lower, side="right") - 1, 0, last)
        final = np.clip(np.searchsorted(table.edges, upper, side="left") - 1, first, last)
        counts = final - first + 1
        self.starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        self.owner = np.repeat(np.arange(len(counts)), counts)
        piece = np.arange(len(self.owner)) - self.starts[self.owner] + first[self.owner]
        self.middle, self.value = table.middle[piece], table.value[piece]
        self.slope, self.bend = table.slope[piece], table.bend[piece]
        self.rest = table.rest[piece]
        self.left = np.maximum(lower[self.owner], table.edges[piece]) - self.middle
        self.right = np.minimum(upper[self.owner], table.edges[piece + 1]) - self.middle
        self.lower, self.upper = lower, upper

    def slopes(self) -> list[Any]:
        """Candidates: none, the chord, and least squares over the pieces."""
        last = np.append(self.starts[1:], len(self.owner)) - 1
        ends = [
            (self.value + t * (self.slope + t * self.bend))[at]
            for t, at in ((self.left, self.starts), (self.right, last))
        ]
        width = self.upper - self.lower
        known = width > 2.0**-40 * (1 + np.abs(self.lower) + np.abs(self.upper))
        chord = np.where(known, (ends[1] - ends[0]) / np.where(known, width, 1.0), 0.0)
        # Moments of each piece of its linear part; constants that all share drop out.
        length = np.maximum(self.right - self.left, 0.0)
        weight = self._sum(length)
        safe = np.where(known & (weight > 0), weight, 1.0)
        centre = (self.left + self.right) / 2
        z, g = self.middle + centre, self.value + self.slope * centre
        z_mean, g_mean = self._sum(length * z) / safe, self._sum(length * g) / safe
        apart, away = z - z_mean[self.owner], g - g_mean[self.owner]
        covariance = self._sum(length * (apart * away + self.slope * length**2 / 12))
        variance = self._sum(length * (apart**2 + length**2 / 12))
        usable = known & (variance > 0)
        fitted = np.where(usable, covariance / np.where(usable, variance, 1.0), 0.0)
        return [np.zeros_like(chord), chord, fitted]

    def around(self, slope: Any) -> Lines:
        """The narrowest enclosure with this slope."""
        mine = slope[self.owner]
        value, tilt = self.value - mine * self.middle, self.slope - mine
        bent = self.bend != 0
        vertex = np.where(bent, -tilt / np.where(bent, 2 * self.bend, 1.0), self.left)
        vertex = np.clip(vertex, self.left, self.right)
        values = [value + t * (tilt + t * self.bend) for t in (self.left, self.right, vertex)]
        # The vertex is off by rounding: a parabola changes by less than its own rounding there.
        reach = np.maximum(np.abs(self.left), np.abs(self.right))
        size = np.abs(self.value) + np.abs(mine * self.middle)
        size += reach * (np.abs(self.slope) + np.abs(mine) + reach * np.abs(self.bend))
        slack = self.rest + _ROUNDING * size + 1e-300
        low = np.minimum.reduceat(np.minimum.reduce(values) - slack, self.starts)
        high = np.maximum.reduceat(np.maximum.reduce(values) + slack, self.starts)
        known = np.isfinite(low) & np.isfinite(high)
        low, high = np.where(known, low, 0.0), np.where(known, high, 0.0)
        offset = low / 2 + high / 2
        radius = np.maximum(high - offset, offset - low)
        radius = radius * (1 + 2.0**-50) + 2.0**-50 * np.abs(offset) + 1e-300
        return Lines(slope, offset, np.where(known, radius, np.inf))

    def peak(self, origin: Any, scale: Any, slope: Any, bend: Any) -> Any:
        """Upper bounds of ``scale g(z) + slope t + bend t^2``, t = z - origin, on each range."""
        scale, slope, bend = scale[self.owner], slope[self.owner], bend[self.owner]
        away = self.middle - origin[self.owner]
        value = scale * self.value + away * (slope + bend * away)
        tilt = scale * self.slope + slope + 2 * bend * away
        turn = scale * self.bend + bend
        bent = turn != 0
        vertex = np.where(bent, -tilt / np.where(bent, 2 * turn, 1.0), self.left)
        vertex = np.clip(vertex, self.left, self.right)
        values = [value + t * (tilt + t * turn) for t in (self.left, self.right, vertex)]
        reach = np.maximum(np.abs(self.left), np.abs(self.right))
        size = np.abs(scale) * (np.abs(self.value) + reach * (np.abs(self.slope)
                                + reach * np.abs(self.bend)))  # fmt: skip
        far = np.abs(away) + reach
        size += far * (np.abs(slope) + far * np.abs(bend))
        slack = np.abs(scale) * self.rest * (1 + _ROUNDING) + _ROUNDING * size + 1e-300
        high = np.maximum.reduceat(np.maximum.reduce(values) + slack, self.starts)
        return np.where(np.isfinite(high), high, np.inf)

    def _sum(self, x: Any) -> Any:
        return np.add.reduceat(x, self.starts)
