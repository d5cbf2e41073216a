"""The best spline for given knots: an exact minimax problem, solved as a linear program.

THEORY.md, Theorem Minimax program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from jaxbarron.kernels.spline_space import Array, Rows, Space, Target

__all__ = ["FINEST", "Fit", "best_spline", "minimax_step", "peaks"]

# The error is looked for at these points of each piece, then refined by a parabola.
_UNIFORM: Array = np.linspace(1e-9, 1 - 1e-9, 25)
# For the last word: closer to the ends, where a long piece of a tail has its extrema.
FINEST: Array = (0.5 - 0.5 * np.cos(np.pi * np.arange(49) / 48)) * (1 - 2e-9) + 1e-9


@dataclass(frozen=True, eq=False)
class Fit:
    """The best spline on its knots.

    Attributes:
        space: the splines on these knots.
        x: the free parameters of the best one.
        error: the linear program's value: max |f - spline| over the points of ``rows``.
        rows: the points, with the error of x = 0.
        multipliers: of the rows; the value moves by ``multipliers @ d`` when the residual moves
            by d (the envelope theorem).
    """

    space: Space
    x: Array
    error: float
    rows: Rows
    multipliers: Array

    @property
    def residual(self) -> Array:
        """The error f - spline at the points of ``rows``."""
        return self.rows.residual - self.rows.basis @ self.x


def minimax_step(residual: Array, matrix: Any, bound: Array) -> tuple[Array, float, Array]:
    """Minimise max |residual - matrix @ x| over |x| <= bound.

    Returns x, the minimum and the multipliers.  Everything is scaled by the residual's size
    first, because the solver's feasibility tolerance is absolute.  Where the solver gives up
    (badly scaled, at the limit of doubles) the step is zero: a correct, useless answer.
    """
    count, size = matrix.shape
    scale = float(np.max(np.abs(residual)))
    if scale == 0.0:
        return np.zeros(size), 0.0, np.zeros(count)
    ones = np.ones((count, 1))
    above, below = sparse.hstack([-matrix, -ones]), sparse.hstack([matrix, -ones])
    goal = residual / scale
    cost = np.zeros(size + 1)
    cost[-1] = 1.0
    limits = np.append(bound / scale, np.inf)
    solved: Any = linprog(
        cost,
        A_ub=sparse.csc_array(sparse.vstack([above, below])),
        b_ub=np.concatenate([-goal, goal]),
        bounds=np.column_stack([-limits, limits]),
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9},
    )
    if solved.x is None:
        return np.zeros(size), scale, np.zeros(count)
    marginals = np.asarray(solved.ineqlin.marginals)
    return solved.x[:-1] * scale, float(solved.x[-1]) * scale, marginals[count:] - marginals[:count]


def best_spline(target: Target, knots: Array, exchanges: int = 1) -> Fit:
    """The spline on ``knots`` with the least sup |f - spline|.

    Least squares come first: the linear program then works on a small residual and its absolute
    tolerances mean relative ones.  Then up to ``exchanges`` times, while the error of the solution
    exceeds the program's value by more than one part in 10,000: its extrema are added to the
    points and the program is solved again.
    """
    space = Space(target, knots)
    points = space.grid()
    fit = _solve(space, points)
    for _ in range(exchanges):
        extrema, error = _peaks(fit)
        if error <= fit.error * (1 + 1e-4):
            break
        points = np.concatenate([points, extrema])
        fit = _solve(space, points)
    return fit


def _solve(space: Space, points: Array) -> Fit:
    rows = space.rows(points)
    x = np.asarray(np.linalg.lstsq(rows.basis.toarray(), rows.residual, rcond=None)[0])
    step, error, multipliers = minimax_step(
        rows.residual - rows.basis @ x, rows.basis, np.full(space.size, np.inf)
    )
    return Fit(space, x + step, error, rows, multipliers)


def _peaks(fit: Fit) -> tuple[Array, float]:
    """Extrema of the error inside the pieces, and the largest error anywhere."""

    def error_at(z: Array) -> Array:
        basis, start = fit.space.inside(z)
        return np.abs(np.asarray(fit.space.target.f(z)) - start - basis @ fit.x)

    return peaks(error_at, fit.space.breaks)


def peaks(
    error_at: Callable[[Array], Array], breaks: Array, nodes: Array = _UNIFORM
) -> tuple[Array, float]:
    """The local maxima of an error that is smooth between ``breaks``, and its largest value.

    Each piece is sampled at ``nodes`` of (0, 1); the largest value counts its ends too.
    """
    z = breaks[:-1, None] + np.diff(breaks)[:, None] * nodes
    values = error_at(z.ravel()).reshape(z.shape)
    before, middle, after = values[:, :-2], values[:, 1:-1], values[:, 2:]
    piece, index = np.nonzero((middle >= before) & (middle >= after))
    low, top, high = (v[piece, index] for v in (before, middle, after))
    # the vertex of the parabola through three points, from its divided differences
    left, here, right = z[piece, index], z[piece, index + 1], z[piece, index + 2]
    rising, falling = (top - low) / (here - left), (high - top) / (right - here)
    bend = np.minimum((falling - rising) / (right - left), -1e-200)
    refined = np.clip(0.5 * (left + here) - 0.5 * rising / bend, left, right)
    refined = np.clip(refined, z[piece, 0], z[piece, -1])
    found = error_at(refined) if len(refined) else np.zeros(0)
    return refined, float(max(values.max(), found.max(initial=0.0)))
