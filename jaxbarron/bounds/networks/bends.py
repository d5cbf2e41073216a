"""What an elementwise function does away from the centre of its ranges: its bend, and its error.

With t = z - z0 the bend ``w(t) = sigma(z0 + t) - y0 - s0 t`` and the slope are compared with
``p t^2 / 2`` and ``s0 + p t``; how far they differ is proved on the tables (THEORY.md, Theorem
Joint parabolas).  p and the rates are chosen, not proved: what they leave is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxbarron.bounds.networks.cells import FARTHEST, Table
from jaxbarron.bounds.networks.differential import Unbounded
from jaxbarron.bounds.networks.forms import euclidean
from jaxbarron.bounds.networks.graph import Elementwise
from jaxbarron.bounds.networks.relaxations import View
from jaxbarron.bounds.networks.rounding import raised

__all__ = ["Bend", "bend_of", "value_at"]

_PARTS = 33  # places on each range at which rates are chosen


@dataclass(frozen=True, eq=False)
class Bend:
    """On ``|t| <= reach``, entry by entry; sigma is continuous up to ``jumps``.

    ``|w(t) - curve t^2 / 2| <= rate t^2 + rest`` and ``|w(t)| <= size - error``;
    ``|s - s0 - curve (t + t') / 2| <= tilt_rate max(|t|, |t'|) + tilt_rest`` for the slope s of a
    secant between t and t'; ``|e(z0 + t)| <= error``, jumps and all.
    """

    reach: Any
    value: Any  # y0
    slope: Any  # s0
    curve: Any  # p
    rate: Any
    rest: Any
    tilt_rate: Any
    tilt_rest: Any
    error: Any
    size: Any
    jumps: float
    errors: View | None  # of e on the ranges; None where the function is not replaced

    @property
    def steepest(self) -> Any:
        """Bounds of ``|s - s0|``."""
        return raised((np.abs(self.curve) + self.tilt_rate) * self.reach + self.tilt_rest, 8)

    @property
    def ratio(self) -> Any:
        """Bounds of ``(|w| - rest) / |t|``."""
        return raised((np.abs(self.curve) / 2 + self.rate) * self.reach, 8)


def bend_of(node: Elementwise, centre: Any, reach: Any) -> Bend:
    """The bend of a node's function on the ranges ``centre -+ reach``.

    Raises:
        Unbounded: a range leaves the tables, or something there has no finite bound.
    """
    reach = raised(reach, 4)
    lower, upper = centre - reach, centre + reach
    spread = 2.0**-52 * (np.abs(centre) + reach)
    lower, upper = lower - spread, upper + spread
    if not (np.all(lower > -FARTHEST) and np.all(upper < FARTHEST)):
        raise Unbounded(f"{node.name}: the range of its argument leaves +-{FARTHEST:g}")
    values, slopes, errors = node.cells.tables(float(lower.min()), float(upper.max()))
    jumps = node.cells.jumps
    if not np.isfinite(jumps):
        raise Unbounded(f"{node.name}: no proof that its function is continuous on the range")
    value, (slope, curve) = value_at(values, centre)[0], value_at(slopes, centre)
    one, zero = np.ones_like(reach), np.zeros_like(reach)
    # rates: by a look at some places, with a little room; what they miss goes into the rests
    places = np.linspace(-1.0, 1.0, _PARTS)
    places = places[np.abs(places) > 0.1]
    t = places[:, None] * reach
    safe = np.where(np.abs(t) < 1e-150, 1.0, t)  # its square is a number
    at = [value_at(table, centre + t)[0] for table in (values, slopes)]
    bent = (at[0] - value - slope * t - curve / 2 * t * t) / safe**2
    tilted = (at[1] - slope - curve * t) / safe
    rate, tilt_rate = (1.01 * np.max(np.abs(x), axis=0) for x in (bent, tilted))
    rate, tilt_rate = (np.where(np.isfinite(x), x, 0.0) for x in (rate, tilt_rate))
    whole = View(values, lower, upper)
    rest, tilt_rest = zero, zero
    sides = [View(slopes, *x) for x in ((lower, centre), (centre, upper))]
    for sign in (1.0, -1.0):
        top = whole.peak(centre, sign * one, -sign * slope, -sign * curve / 2 - rate)
        rest = np.maximum(rest, top - sign * value)
        for side, way in zip(sides, (1.0, -1.0), strict=True):
            top = side.peak(centre, sign * one, -sign * curve + way * tilt_rate, zero)
            tilt_rest = np.maximum(tilt_rest, top - sign * slope)
    rest = raised(rest + 2.0**-50 * np.abs(value), 4)
    tilt_rest = raised(tilt_rest + 2.0**-50 * np.abs(slope), 4)
    view, error = None, np.full(len(reach), jumps)
    if errors is not None:
        view = View(errors, lower, upper)
        peaks = [view.peak(centre, sign * one, zero, zero) for sign in (1.0, -1.0)]
        error = raised(np.maximum(*peaks) + jumps, 4)
    size = (np.abs(curve) / 2 + rate) * reach * reach + rest + error
    found = (rate, rest, tilt_rate, tilt_rest, error)
    if not all(np.isfinite(x).all() for x in (value, slope, curve, *found)):
        raise Unbounded(f"{node.name}: no finite bound on the range")
    return Bend(reach, value, slope, curve, *found, raised(size, 8), jumps, view)


def value_at(table: Table, z: Any) -> tuple[Any, Any]:
    """The table's quadratics at z and their derivatives: near the truth, nothing more."""
    piece = np.clip(np.searchsorted(table.edges, z, side="right") - 1, 0, len(table.middle) - 1)
    t = z - table.middle[piece]
    bend, slope = table.bend[piece], table.slope[piece]
    return table.value[piece] + t * (slope + t * bend), slope + 2 * t * bend


def norm_of(vector: Any) -> float:
    """An upper bound of the Euclidean norm of a vector >= 0."""
    return float(euclidean(np.asarray(vector, np.float64)))
