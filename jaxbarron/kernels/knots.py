"""Where the knots go: an outer optimisation around the exact minimax step in the coefficients.

The outer step is a linear program in coefficients and knots together, not a gradient method.
Measured (error * K^(s+1) over the limit, K = 32, two cores): GELU s = 3 starts at 3.10 with
equidistributed knots; Adam (optax) on the gradient that the program's multipliers give reaches
2.29 after 20 steps and 1.53 after 60 (0.6 s), the linear program 1.21 after 10 (0.3 s).  The
minimax value has a kink in most directions at its minimum, so gradients stall there.  As a first
phase before the linear program Adam doubled the time and won at most 3 % (GELU s = 3, K = 32:
1.18), and lost elsewhere (SiLU s = 3, K = 16: 1.49 against 1.08); from the end point it won
less than 1 %.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import sparse
from scipy.interpolate import BSpline

from jaxbarron.kernels.minimax import Fit, best_spline, minimax_step
from jaxbarron.kernels.spline_space import NODES, Array, Target

__all__ = ["first_knots", "optimised"]

_LARGEST_TRUST = 0.45  # below one half neighbouring knots cannot cross


def first_knots(target: Target, count: int, points: Array, mass: Array, error: float) -> Array:
    """Knots at equal steps of ``mass``, and at each kink as many as its order asks for.

    Args:
        target: what is approximated.
        count: K, the number of knots.
        points: where ``mass`` is given (:func:`jaxbarron.kernels.density.knot_mass`).
        mass: the integral of the density of knots.
        error: a guess of the error, which sets the width of the knots around a kink.
    """
    s, placed = target.s, []
    sizes = [s + 1 - kink.order for kink in target.kinks]
    spare = count - sum(sizes)
    if target.kinks and mass[-1] <= 1e-6:  # a piecewise polynomial: all knots serve its kinks
        sizes = [size + (spare + i) // len(sizes) for i, size in enumerate(sizes)]
        spare = 0
    for kink, size in zip(target.kinks, sizes, strict=True):
        order = min(kink.order, s)
        width = (4.0**order * error / abs(kink.jump)) ** (1 / order) if size > 1 else 0.0
        placed.extend(kink.location + width * (np.arange(size) - 0.5 * (size - 1)))
    share = (np.arange(spare) + 0.5) / max(spare, 1)
    placed.extend(np.interp(share * mass[-1], mass, points))
    return _apart(target, np.sort(np.array(placed)))


def optimised(target: Target, knots: Array, goal: float = 0.0, steps: int = 60) -> Fit:
    """Move the knots until the error stops falling, or is at most ``goal``.

    Each step linearises the error in coefficients and knots together, minimises its maximum by a
    linear program within a trust region (Madsen's method for nonlinear minimax problems), then
    solves the exact minimax problem in the coefficients at the new knots and keeps these only if
    its value fell: the error is the exact one at every iterate and never rises.
    """
    fit, trust = best_spline(target, knots), 0.3
    for _ in range(steps):
        if fit.error <= goal or trust < 1e-3:
            break
        width = _room(target, fit.space.knots)
        matrix = sparse.hstack([fit.rows.basis, sparse.csr_array(knot_columns(fit) * width)])
        bound = np.concatenate([np.full(fit.space.size, np.inf), np.full(len(width), trust)])
        step, predicted, _ = minimax_step(fit.residual, matrix, bound)
        if predicted > fit.error * (1 - 1e-3):
            break
        moved = fit.space.knots + step[fit.space.size :] * width
        trial = best_spline(target, moved)
        gain = (fit.error - trial.error) / (fit.error - predicted)
        if gain > 0.05:
            fit = trial
        trust = min(_LARGEST_TRUST, 1.6 * trust) if gain > 0.7 else trust
        trust = 0.4 * trust if gain < 0.3 else trust
    return fit


def knot_columns(fit: Fit) -> Array:
    """How the residual falls with each knot, up to what the coefficients can make up for.

    Shape (rows, K).  The points of the grid move with the ends of their pieces, so the error at
    fixed positions in a piece is a smooth function of the knots, also for s = 1 where it has its
    extrema at the knots themselves.  Moving t_k alone adds -s c_k (z - t_k)_+^(s-1); a B-spline
    in which t_k is a double knot has the same singularity there and a bounded support.
    """
    space, s = fit.space, fit.space.target.s
    target, breaks = space.target, space.breaks
    step = (breaks[-1] - breaks[0]) / (len(breaks) - 1)
    before = [] if target.left is not None else breaks[0] - step * np.arange(s, 0, -1)
    after = [] if target.right is not None else breaks[-1] + step * np.arange(1, s + 1)
    padded = np.concatenate([before, breaks, after])
    first = 0 if target.left is not None else s + 1
    points = fit.rows.points
    columns = np.zeros((len(points), len(space.knots)))
    for k, jump in enumerate(space.jumps(fit.x)):
        at = k + first
        low = min(max(at - s // 2, 0), len(padded) - s - 1)
        window = padded[low : low + s + 1]
        others = np.delete(window, at - low)
        # the coefficient of s (z - t_k)_+^(s-1) in the B-spline, by divided differences
        strength = (-1) ** s * (window[-1] - window[0]) / np.prod(padded[at] - others)
        doubled = np.insert(window, at - low, padded[at])
        near = np.flatnonzero((points >= window[0]) & (points <= window[-1]))
        spline = BSpline.basis_element(doubled, extrapolate=False)
        columns[near, k] = -jump / strength * np.asarray(spline(points[near]))
    carried = _carried(fit)
    columns[: len(carried)] -= carried
    return columns


def _carried(fit: Fit) -> Array:
    """The change of the error at the points of the grid as they move with the knots, (n, K).

    The other points are extrema, where the error has no slope, or lie on the tails.
    """
    space = fit.space
    pieces = len(space.breaks) - 1
    count = pieces * len(NODES)
    errors = fit.residual[:count].reshape(pieces, len(NODES))
    slopes = errors @ _DIFFERENTIATION.T / np.diff(space.breaks)[:, None]
    moves = np.zeros((pieces, len(NODES), pieces + 1))
    index = np.arange(pieces)
    moves[index, :, index] = slopes * (1 - NODES)
    moves[index, :, index + 1] = slopes * NODES
    first = 0 if space.target.left is not None else 1
    return moves.reshape(count, pieces + 1)[:, first : first + len(space.knots)]


def _differentiation() -> Array:
    """The matrix that differentiates the interpolating polynomial at NODES."""
    differences = NODES[:, None] - NODES + np.eye(len(NODES))
    weights = 1 / np.prod(differences, axis=1)
    matrix = weights / weights[:, None] / differences
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return matrix


_DIFFERENTIATION = _differentiation()


def _room(target: Target, knots: Array) -> Array:
    """How far each knot may move: the distance to the nearer neighbour; 0 for a fixed knot."""
    breaks = target.breaks(knots)
    gaps = np.diff(breaks)
    padded = np.concatenate([gaps[:1], gaps, gaps[-1:]])
    first = 0 if target.left is not None else 1
    room = np.minimum(padded[:-1], padded[1:])[first : first + len(knots)]
    room = np.where(room < 4 * target.closest, 0.3 * np.maximum(room - target.closest, 0.0), room)
    return np.where(np.isin(knots, target.fixed), 0.0, room)


def _apart(target: Target, knots: Array) -> Array:
    """The knots, moved apart where they lie closer than the target allows."""
    least = 2 * target.closest
    low = target.lower if target.left is None else -math.inf
    high = target.upper if target.right is None else math.inf
    knots = np.clip(knots, low + least, high - least)
    for k in range(1, len(knots)):
        if knots[k] - knots[k - 1] < least:
            if knots[k] in target.fixed:
                knots[k - 1] = knots[k] - least
            else:
                knots[k] = knots[k - 1] + least
    return np.sort(knots)
