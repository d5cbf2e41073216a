"""A region cut into boxes: the cuts are kept, the boxes follow from them, so that they cover it.

THEORY.md, Theorem Branching.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxbarron.bounds.networks.refined import Parabolas
from jaxbarron.bounds.networks.regions import Region
from jaxbarron.domains import Box

__all__ = ["Branches", "boxes_of", "enclosing_box", "misses"]


@dataclass(frozen=True, eq=False)
class Branches:
    """Cuts of a region, one after the other, and what proves the bound of each part.

    The first part, 0, is the box about the region.  Cut k divides the part ``leaf[k]`` at
    ``place[k]`` of the coordinate ``axis[k]``: it keeps what lies below, what lies above is part
    k + 1.

    Attributes:
        leaf: shape (cuts,), whole numbers.
        axis: the same.
        place: shape (cuts,), doubles.
        parabolas: for each part the multipliers of its joint bounds, one for each output; None
            where they were not asked for.
    """

    leaf: Any
    axis: Any
    place: Any
    parabolas: tuple[tuple[Parabolas | None, ...] | None, ...]


def enclosing_box(region: Region) -> tuple[Any, Any]:
    """The ends of a box that holds the region.

    Example:
        >>> low, high = enclosing_box(Box([0.0], [1.0]))
        >>> float(low[0]), float(high[0])
        (0.0, 1.0)
    """
    if isinstance(region, Box):
        return np.array(region.lower, np.float64), np.array(region.upper, np.float64)
    centre, radius = np.array(region.centre, np.float64), float(region.ball.radius)
    return np.nextafter(centre - radius, -np.inf), np.nextafter(centre + radius, np.inf)


def boxes_of(region: Region, branches: Branches) -> list[tuple[Any, Any]]:
    """The parts, which cover the region together.

    Raises:
        ValueError: a cut of no part, of no axis, or outside of its part.
    """
    parts = [enclosing_box(region)]
    leaf, axis, place = branches.leaf, branches.axis, branches.place
    fits = leaf.ndim == 1 and leaf.shape == axis.shape == place.shape
    if not fits or leaf.dtype != np.int64 or axis.dtype != np.int64 or place.dtype != np.float64:
        raise ValueError("cuts that are no arrays of one length")
    for k, (at, along, where) in enumerate(zip(leaf, axis, place, strict=True)):
        if not (0 <= at < len(parts) and 0 <= along < len(parts[0][0])):
            raise ValueError(f"cut {k} is of no part, or along no coordinate")
        lower, upper = parts[at]
        if not lower[along] <= where <= upper[along]:
            raise ValueError(f"cut {k} is outside of its part")
        below, above = upper.copy(), lower.copy()
        below[along] = above[along] = where
        parts[at] = lower, below
        parts.append((above, upper))
    if len(branches.parabolas) != len(parts):
        raise ValueError("another number of parts than the cuts make")
    return parts


def misses(region: Region, lower: Any, upper: Any) -> bool:
    """Whether a box has no point in common with a ball for certain; of a box no part is left out.

    Example:
        >>> from jaxbarron.bounds.networks.regions import Around
        >>> from jaxbarron.domains import Ball
        >>> disc = Around((0.0, 0.0), Ball(1.0))
        >>> misses(disc, np.array([0.8, 0.8]), np.ones(2)), misses(disc, np.zeros(2), np.ones(2))
        (True, False)
    """
    if isinstance(region, Box) or np.isinf(region.ball.ord):
        return False
    centre = np.array(region.centre, np.float64)
    # rounding: the differences are off by 2^-53 of themselves, the sums by less than 2^-30
    away = np.maximum(np.maximum(lower - centre, centre - upper), 0.0)
    far = np.sum(away) if region.ball.ord == 1 else np.sqrt(np.sum(away**2))
    return bool(far > float(region.ball.radius) * (1 + 2.0**-30))
