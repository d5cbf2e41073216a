"""Splines of degree s on given knots, with tails that are pinned to lines.

A :class:`Target` is the function to approximate together with what is known about its ends.
At an end with a line the kernel is that line plus a constant, all the way to infinity (or to
the reach); at an end without one it is a free polynomial up to the reach.  Between the ends a
spline is held by its coefficients in clamped B-splines: these keep the linear programs well
conditioned for every number of knots, where the truncated powers ``(z - t_k)_+^s`` of the
finished kernel do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.interpolate import BSpline

from jaxbarron.activations import Line

__all__ = ["NODES", "Array", "Corner", "Rows", "Space", "Target"]

Array = NDArray[np.float64]
# Points a piece, in (0, 1): Chebyshev points of the second kind, drawn in by a hair so that each
# lies inside its own piece and one-sided values at a knot come out one-sided.
NODES: Array = (0.5 - 0.5 * np.cos(np.pi * np.arange(9) / 8)) * (1 - 2e-9) + 1e-9


@dataclass(frozen=True)
class Corner:
    """A kink that matters to splines of degree s: derivative ``order`` <= s jumps by ``jump``."""

    location: float
    order: int
    jump: float


@dataclass(frozen=True, eq=False)
class Target:
    """A function f on [lower, upper] and the lines that a kernel keeps outside its knots.

    A finite end without a line is where the kernel starts (or stops) as a free polynomial.
    Where the left line is zero the left constant is zero too: the kernel needs no particle
    there and vanishes exactly.
    """

    f: Callable[[Array], Array]
    s: int
    left: Line | None
    right: Line | None
    lower: float
    upper: float
    kinks: tuple[Corner, ...] = ()
    closest: float = 2.0**-12

    @property
    def fixed(self) -> tuple[float, ...]:
        """The knots that do not move: kinks of order s, which one knot reproduces."""
        return tuple(kink.location for kink in self.kinks if kink.order == self.s)

    @property
    def left_is_zero(self) -> bool:
        """Whether the kernel vanishes to the left of its knots."""
        return self.left is not None and self.left == Line(0.0, 0.0)

    @property
    def fewest(self) -> int:
        """The fewest knots for which the conditions at the ends leave a spline."""
        at_kinks = sum(self.s + 1 - kink.order for kink in self.kinks)
        return max(self.s + 1 if self.right is not None else 1, at_kinks)

    def breaks(self, knots: Array) -> Array:
        """The ends of the polynomial pieces: the knots, and the ends that have no line."""
        start = [] if self.left is not None else [self.lower]
        stop = [] if self.right is not None else [self.upper]
        return np.concatenate([start, knots, stop])


@dataclass(frozen=True, eq=False)
class Rows:
    """The error f - spline, linearised, at ``points``: ``residual - basis @ x`` (and knots)."""

    points: Array
    residual: Array
    basis: Any


class Space:
    """The splines on given knots: coefficients ``start + lift @ x``, x free, shape (size,)."""

    def __init__(self, target: Target, knots: Array) -> None:
        self.target, self.knots, s = target, knots, target.s
        self.breaks = target.breaks(knots)
        self.sequence = np.concatenate([[self.breaks[0]] * s, self.breaks, [self.breaks[-1]] * s])
        count = len(self.sequence) - s - 1
        greville = np.array([self.sequence[j + 1 : j + s + 1].mean() for j in range(count)])
        self.start = np.zeros(count)
        first, last = 0, count
        columns: list[Array] = []
        # A clamped spline joins a line with s - 1 derivatives exactly when its first s
        # coefficients are the line's values at the Greville points.
        if target.left is not None:
            first = s
            self.start[:s] = target.left.slope * greville[:s] + target.left.intercept
        if target.right is not None:
            last = count - s
            self.start[last:] = target.right.slope * greville[last:] + target.right.intercept
        if target.left is not None and not target.left_is_zero:
            columns.append((np.arange(count) < s).astype(float))
        columns.extend(np.eye(count)[first:last])
        if target.right is not None:
            columns.append((np.arange(count) >= last).astype(float))
        self.lift = sparse.csr_array(np.array(columns).T)
        self.size = len(columns)

    def coefficients(self, x: Array) -> Array:
        """The clamped B-spline coefficients of the spline with free parameters x."""
        return self.start + self.lift @ x

    def constants(self, x: Array) -> tuple[float, float]:
        """The departures of the two tails from their lines; 0 at an end without a line."""
        left = x[0] if self.target.left is not None and not self.target.left_is_zero else 0.0
        return float(left), float(x[-1]) if self.target.right is not None else 0.0

    def jumps(self, x: Array) -> Array:
        """The coefficients c_k of (z - t_k)_+^s at the knots, shape (K,)."""
        s, values = self.target.s, self.coefficients(x)
        pieces = np.asarray(BSpline(self.sequence, values, s).derivative(s)(_inner(self.breaks)))
        outside = [0.0] if s > 1 else [self.target.left.slope if self.target.left else 0.0]
        if self.target.left is not None:
            pieces = np.concatenate([outside, pieces])
        if self.target.right is not None:
            outside = [0.0] if s > 1 else [self.target.right.slope]
            pieces = np.concatenate([pieces, outside])
        return np.diff(pieces) / math.factorial(s)

    def inside(self, points: Array) -> Any:
        """The matrix (n, size) and the values (n,) at x = 0, for points between the ends."""
        design = BSpline.design_matrix(points, self.sequence, self.target.s)
        return sparse.csr_array(design @ self.lift), np.asarray(design @ self.start)

    def outside(self, side: int, count: int) -> Any:
        """The matrix of ``count`` points on a tail: only the tail's own constant acts there."""
        matrix = np.zeros((count, self.size))
        if not (side < 0 and self.target.left_is_zero):
            matrix[:, 0 if side < 0 else -1] = 1.0
        return sparse.csr_array(matrix)

    def tails(self, side: int) -> tuple[Array, Array]:
        """Points of a tail and f - line there; the last one stands for the limit at infinity."""
        target, end = self.target, self.breaks[0 if side < 0 else -1]
        line, bound = (target.left, target.lower) if side < 0 else (target.right, target.upper)
        if line is None or side * bound <= side * end:
            return np.empty(0), np.empty(0)
        scale = 0.05 * (self.breaks[-1] - self.breaks[0]) / len(self.breaks)
        distances = scale * 2.0 ** np.arange(0, 24, 0.5)
        points = end + side * distances
        if math.isfinite(bound):
            points = np.append(points[side * points < side * bound], bound)
        values = target.f(points) - (line.slope * points + line.intercept)
        if not math.isfinite(bound):
            points, values = np.append(points, side * np.inf), np.append(values, 0.0)
        return points, values

    def rows(self, points: Array | None = None) -> Rows:
        """The error at x = 0 on the grid of every piece and on both tails."""
        if points is None:
            points = self.grid()
        basis, start = self.inside(points)
        parts: list[tuple[Array, Array, Any]] = [
            (points, np.asarray(self.target.f(points)) - start, basis)
        ]
        for side in (-1, 1):
            where, values = self.tails(side)
            if len(where):
                parts.append((where, values, self.outside(side, len(where))))
        return Rows(
            np.concatenate([p[0] for p in parts]),
            np.concatenate([p[1] for p in parts]),
            sparse.csr_array(sparse.vstack([p[2] for p in parts])),
        )

    def grid(self, nodes: Array = NODES) -> Array:
        """Points in each piece, shape (pieces * len(nodes),)."""
        widths = np.diff(self.breaks)
        return (self.breaks[:-1, None] + widths[:, None] * nodes).ravel()


def _inner(breaks: Array) -> Array:
    return 0.5 * (breaks[1:] + breaks[:-1])
