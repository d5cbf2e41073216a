"""Where the input lies: a box, or a ball about a point; as forms in its own coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxbarron.bounds.networks.forms import Form, Group, form_of
from jaxbarron.domains import Ball, Box
from jaxbarron.errors import DomainError, ShapeError

__all__ = ["Around", "Region", "input_form", "region_form"]


@dataclass(frozen=True)
class Around:
    """The ball ``{x : ||x - centre||_ord <= radius}``.

    Args:
        centre: d finite numbers.
        ball: its radius and norm.

    Example:
        >>> Around((0.0, 1.0), Ball(0.5, ord=2)).size
        2
    """

    centre: tuple[float, ...]
    ball: Ball

    def __post_init__(self) -> None:
        if not np.isfinite(self.centre).all():
            raise DomainError(
                "given: a ball about a point that is not finite; expected: finite numbers; do: "
                "check the input for NaN"
            )

    @property
    def size(self) -> int:
        """The dimension d."""
        return len(self.centre)


Region = Box | Around


def region_form(region: Region, size: int) -> Form:
    """The form of an input of ``size`` numbers (THEORY.md, Theorem Interval propagation).

    Raises:
        ShapeError: the region has not as many coordinates.
    """
    given = len(region.lower) if isinstance(region, Box) else region.size
    if given != size:
        raise ShapeError(
            f"given: a box in dimension {given} for an input of {size} numbers; expected: "
            "one interval for each number of the input, in the order of its flat array; "
            "do: build the box from x.ravel() - r and x.ravel() + r"
        )
    if isinstance(region, Box):
        return input_form(region.lower, region.upper)
    centre, ball = np.asarray(region.centre, np.float64), region.ball
    slopes = np.diag(np.full(size, float(ball.radius)))
    group = None if np.isinf(ball.ord) else Group(size, ball.ord)
    return form_of(centre, slopes, np.zeros(size), group=group)


def input_form(lower: Any, upper: Any) -> Form:
    """A box; a coordinate of width 0 needs no symbol."""
    lower, upper = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
    centre = lower / 2 + upper / 2
    half = np.maximum(upper - centre, centre - lower)
    half = np.where(upper > lower, half * (1 + 2.0**-50) + 2.0**-1000, 0.0)
    wide = np.flatnonzero(half)
    slopes = np.zeros((len(wide), len(half)))
    slopes[np.arange(len(wide)), wide] = half[wide]
    return form_of(centre, slopes, np.zeros(len(half)))
