"""Domains: norm balls and boxes, and the reach of a particle on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbarron.errors import DomainError, ShapeError, UsageError

__all__ = ["Ball", "Box", "Domain"]


@dataclass(frozen=True)
class Ball:
    """The centred ball ``{x : ||x||_ord <= radius}`` in any dimension.

    Args:
        radius: a finite number > 0.
        ord: 1, 2 or infinity.

    Raises:
        DomainError: the radius is not finite or not positive.
        UsageError: another ``ord``.

    Example:
        >>> float(Ball(2.0, ord=1).reach(jnp.array([3.0, -4.0]), jnp.array(1.0)))
        9.0
    """

    radius: float = 1.0
    ord: float = 2

    def __post_init__(self) -> None:
        if not (np.isfinite(self.radius) and self.radius > 0):
            raise DomainError(
                f"given: a ball of radius {self.radius}; expected: a finite radius > 0; "
                "do: give the largest norm that your inputs have"
            )
        if self.ord not in (1, 2, np.inf):
            raise UsageError(f"given: ord={self.ord}; expected: 1, 2 or inf; do: e.g. ord=2")

    def spread(self, directions: Float[Array, "... d"]) -> Float[Array, "..."]:
        """``radius * ||w||_*``, the dual norm: half the width of ``w . x`` on the domain."""
        if self.ord == 1:
            dual = jnp.max(jnp.abs(directions), axis=-1)
        elif self.ord == 2:
            dual = _euclidean(directions)
        else:
            dual = jnp.sum(jnp.abs(directions), axis=-1)
        return jnp.asarray(self.radius, directions.dtype) * dual

    def centre_value(
        self, directions: Float[Array, "... d"], offsets: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """``w . c + b`` at the centre c of the domain: here just ``b``."""
        del directions
        return offsets

    def reach(
        self, directions: Float[Array, "... d"], offsets: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """``rho(w, b) = max over the domain of |w . x + b|`` (THEORY.md, Reach)."""
        return self.spread(directions) + jnp.abs(offsets)


@dataclass(frozen=True)
class Box:
    """The box ``{x : lower <= x <= upper}``, an affine image of a centred l-infinity ball.

    Args:
        lower: d numbers (a scalar is not spread: the dimension must be known).
        upper: d numbers, none below its ``lower``.

    Raises:
        ShapeError: ``lower`` and ``upper`` are not two vectors of one length.
        DomainError: a bound is not finite, or the box is empty.

    Example:
        >>> float(Box((0.0, -1.0), (2.0, 1.0)).reach(jnp.array([1.0, 2.0]), jnp.array(0.5)))
        4.5
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __init__(self, lower: Any, upper: Any) -> None:
        low, high = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
        if low.ndim != 1 or low.shape != high.shape or low.size == 0:
            raise ShapeError(
                f"given: box bounds of shapes {low.shape} and {high.shape}; expected: two vectors "
                "of one length d >= 1; do: give one lower and one upper bound for each input"
            )
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
            raise DomainError(
                "given: a box that is empty or unbounded; expected: finite lower <= upper in each "
                "coordinate; do: check the order of the two bounds"
            )
        object.__setattr__(self, "lower", tuple(low.tolist()))
        object.__setattr__(self, "upper", tuple(high.tolist()))

    def spread(self, directions: Float[Array, "... d"]) -> Float[Array, "..."]:
        """``sum_i |w_i| (upper_i - lower_i) / 2``: half the width of ``w . x`` on the box."""
        half = (np.asarray(self.upper) - np.asarray(self.lower)) / 2
        self._check(directions)
        return jnp.sum(jnp.abs(directions) * jnp.asarray(half, directions.dtype), axis=-1)

    def centre_value(
        self, directions: Float[Array, "... d"], offsets: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """``w . c + b`` at the centre c of the box."""
        centre = (np.asarray(self.upper) + np.asarray(self.lower)) / 2
        self._check(directions)
        return jnp.sum(directions * jnp.asarray(centre, directions.dtype), axis=-1) + offsets

    def reach(
        self, directions: Float[Array, "... d"], offsets: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """``rho(w, b) = max over the box of |w . x + b|`` (THEORY.md, Reach)."""
        return self.spread(directions) + jnp.abs(self.centre_value(directions, offsets))

    def _check(self, directions: Any) -> None:
        if directions.shape[-1] != len(self.lower):
            raise ShapeError(
                f"given: directions in dimension {directions.shape[-1]} on a box in dimension "
                f"{len(self.lower)}; expected: one dimension; do: build the box for these inputs"
            )


Domain = Ball | Box


def _euclidean(directions: Any) -> Any:
    # sqrt has no derivative at 0 and x^2 underflows: scale by the largest entry first, and keep
    # the gradient finite (0, a subgradient) where the direction is the zero vector.
    scale = jnp.max(jnp.abs(directions), axis=-1, keepdims=True)
    zero = scale == 0
    safe = jnp.where(zero, 1, scale)
    squares = jnp.sum(jnp.square(directions / safe), axis=-1)
    flat = zero[..., 0]
    root = jnp.sqrt(jnp.where(flat, 1, squares))
    return jnp.where(flat, 0, root * safe[..., 0])
