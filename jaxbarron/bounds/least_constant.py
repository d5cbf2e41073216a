"""Of all combinations of a dictionary within a tolerance, the one of least constant: floats.

The constant of a kernel for particles of one reach is a sum of its particles' weights; for all
smaller reaches too it is the larger of two sums, at 0 and at the full reach (Theorem Finite kernel
cost).  Both are linear programs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from jaxbarron.activations import Activation
from jaxbarron.programs import evaluate_program

__all__ = ["Combination", "LeastConstant"]

Array = NDArray[np.float64]

_POINTS = 800
_ROUNDS = 8
_STRIDE = 4  # of the points with which the program starts
_BENDS = 96  # of one steepness
_STEEPEST = 3  # 2^3: of a source of unit scale
_KINKED = 12  # 2^12 / reach, where both have kinks
_GAP = 2e-3
_LARGEST = 1e6


@dataclass(frozen=True, eq=False)
class Combination:
    """``sum_k c_k tau(alpha_k z + beta_k)``."""

    weights: Array
    directions: Array
    offsets: Array


class LeastConstant:
    """The points, values and dictionary of one pair on one reach.

    Args:
        sigma: the source.
        tau: the target.
        order: p of the weight ``(1 + rho)^p``; RePU_s has ``rho^s``.
        reach: a finite number > 0.
        uniform: count the particles of every smaller reach, too.

    Example:
        >>> from jaxbarron.activations import activation
        >>> program = LeastConstant(activation("tanh"), activation("relu"), 1, 4.0)
        >>> found = program.within(1e-2)
        >>> bool(np.abs(found.weights).sum() < 2.01)
        True
    """

    def __init__(
        self, sigma: Activation, tau: Activation, order: int, reach: float, *, uniform: bool = False
    ) -> None:
        self.points = _points(sigma, reach)
        self.values = np.asarray(evaluate_program(sigma.program, self.points), np.float64)
        self.size = float(np.max(np.abs(self.values))) or 1.0
        particles = _dictionary(sigma, tau, reach)
        base, s = (1.0, order) if tau.homogeneity is None else (0.0, tau.homogeneity)
        slopes, offsets = np.abs(particles).T
        far, near = (base + slopes * reach + offsets) ** s, (base + offsets) ** s
        power = sigma.homogeneity
        with np.errstate(all="ignore"):
            matrix = evaluate_program(
                tau.program, particles[:, :1] * self.points + particles[:, 1:]
            )
            matrix = np.asarray(matrix, np.float64) / far[:, None]
        size = np.max(np.abs(matrix), axis=1)
        keep = np.isfinite(size) & (size > 0) & (size < _LARGEST)
        self.particles, self.matrix, self.far = particles[keep], matrix[keep], far[keep]
        weight = (1 + reach) ** order if power is None else reach**power
        costs = [np.full(int(keep.sum()), 1 / weight)]
        if uniform and power is None:
            costs.append(near[keep] / far[keep])
        self.costs = np.array(costs)

    def within(self, tol: float) -> Combination | None:
        """The combination of least constant with an error of about ``tol``.

        None where the dictionary holds none.
        """
        rows, masses = np.arange(0, self.points.size, _STRIDE), np.zeros(len(self.particles))
        for _ in range(_ROUNDS):
            found = self._solve(rows, tol)
            if found is None:
                return None
            masses = found
            residual = np.abs(self.values - masses @ self.matrix)
            limit = tol * (1 + _GAP)
            if residual.max() <= limit:
                break
            padded = np.pad(residual, 1)
            peak = (residual >= padded[:-2]) & (residual >= padded[2:]) & (residual > limit)
            rows = np.union1d(rows, np.flatnonzero(peak))
        used = np.flatnonzero(np.abs(masses) > 1e-9 * self.size)
        used = used if used.size else np.zeros(1, np.int64)
        directions, offsets = self.particles[used].T
        return Combination(masses[used] / self.far[used], directions, offsets)

    def _solve(self, rows: NDArray[np.int64], tol: float) -> Array | None:
        matrix = self.matrix[:, rows].T / tol
        values, count = self.values[rows] / tol, len(self.particles)
        ends = np.hstack([self.costs, self.costs, -np.ones((len(self.costs), 1))])
        sides = np.hstack([matrix, -matrix, np.zeros((len(rows), 1))])
        cost = np.append(np.tile(1e-6 * self.costs[0], 2), 1.0)
        solved: Any = linprog(
            cost,
            A_ub=np.vstack([sides, -sides, ends]),
            b_ub=np.concatenate([1 + values, 1 - values, np.zeros(len(self.costs))]),
            bounds=(0, None),
            method="highs",
        )
        if solved.x is None or solved.status != 0:
            return None
        x = np.asarray(solved.x)
        return x[:count] - x[count : 2 * count]


def _points(sigma: Activation, reach: float) -> Array:
    """Points of [-reach, reach]: the unit scale, the reach, and a crowd at a kink of sigma."""
    bend = np.arcsinh(reach)
    points = [
        np.sinh(np.linspace(-bend, bend, _POINTS // 2)),
        reach * np.cos(np.pi * np.arange(_POINTS // 2 + 1) / (_POINTS // 2)),
    ]
    steps = reach * 2.0 ** -np.arange(4, _KINKED + 4, 0.5)
    places = [0.0] if sigma.homogeneity is not None else [k.location for k in sigma.kinks]
    points += [place + np.concatenate([-steps, [0.0], steps]) for place in places]
    merged = np.unique(np.concatenate(points))
    return merged[np.abs(merged) <= reach]


def _dictionary(sigma: Activation, tau: Activation, reach: float) -> Array:
    """Particles (alpha, beta) as rows."""
    places = [0.0] if sigma.homogeneity is not None else [k.location for k in sigma.kinks]
    if tau.homogeneity is not None:
        bend = np.arcsinh(reach)
        knots = np.concatenate(
            [np.sinh(np.linspace(-bend, bend, 161)), np.linspace(-reach, reach, 161), places]
        )
        knots = np.unique(knots[np.abs(knots) <= reach])
        slopes = np.linspace(-1, 1, 33) / reach
        lines = np.column_stack([slopes, np.ones_like(slopes)])
        return np.concatenate(
            [lines, *(np.column_stack([side + 0 * knots, -side * knots]) for side in (1.0, -1.0))]
        )
    constants = np.array([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0, 16.0, 64.0, 1024.0])
    rows = [np.column_stack([0 * constants, side * constants]) for side in (1, -1)]
    unit = 1.0 if sigma.homogeneity is None else 4 / reach
    largest = np.log2(unit) + _STEEPEST
    steepness = 2.0 ** np.arange(np.floor(-np.log2(4 * reach)), largest + 0.5, 0.5)
    if tau.left is None and tau.right is None:
        waves = np.arange(1, 33) * np.pi / (4 * reach)
        phases = np.arange(-4, 5) * np.pi / 8
        rows += [np.column_stack([np.full_like(phases, alpha), phases]) for alpha in waves]
    marks = [kink.location for kink in tau.kinks] or [0.0]
    for alpha in steepness:
        extent = reach + 4 / alpha
        bends = np.linspace(-extent, extent, 1 + min(_BENDS, 2 * int(np.ceil(2 * extent * alpha))))
        for mark in marks:
            rows += [np.column_stack([side * alpha + 0 * bends, mark - side * alpha * bends])
                     for side in (1.0, -1.0)]  # fmt: skip
    for alpha in 2.0 ** np.arange(0, _KINKED + 1) / reach:
        rows += [
            np.array([[side * alpha, mark - side * alpha * place]])
            for place in places for mark in marks for side in (1.0, -1.0)
        ]  # fmt: skip
    return np.unique(np.concatenate(rows), axis=0)
