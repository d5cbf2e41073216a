"""The least norm at which particles of tau come within an error of sigma on [-1, 1].

A linear program over a grid of particles; its rows (points) and columns (particles) are taken up as
they are needed, until neither any point nor any particle of the whole grid asks for more
(THEORY.md, Theorem Trade-off curve).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from jaxbarron.activations import Activation
from jaxbarron.errors import DomainError
from jaxbarron.programs import evaluate_program

__all__ = ["LeastNorm", "TradeOff"]

Array = NDArray[np.float64]

# Directions up to 2^6: with 2^10, or in a grid twice as fine, the norms fall by 1 % at most.
_STEEPEST = 6
_KINKED = 12  # up to 2^12 where sigma has a kink, beside that kink only
_KNOTS = 2 * 2**_STEEPEST  # on an interval of length 1, where tau has a kink
_OFFSETS = 8.0  # beyond its bend a particle is followed this far
_FREQUENCY = 0.375
_PHASES = np.arange(-13, 14) / 8  # -pi/2 to pi/2
_POINTS = 1024
_LARGEST = 1e4  # of |tau| / V on [-1, 1]: such columns would spoil the program's scale
_ERROR_GAP = 1e-3  # relative, between the points of the program
_LOWER_GAP = 0.02  # relative, between the error and what the multipliers prove
_ROUNDS = 60
_COLUMNS = 30  # taken up in a round
_PENALTY = 1e4  # of an error above the tolerance, in norms a tolerance


@dataclass(frozen=True, eq=False)
class LeastNorm:
    """A combination ``sum_k c_k tau(alpha_k x + beta_k)`` of few particles, in floating point.

    Attributes:
        weights: the c_k; at least one, which may be 0.
        directions: the alpha_k.
        offsets: the beta_k.
        slack: by what part of it the error that was asked for is exceeded, at the points.
        value: ``y(sigma)`` for a measure y on [-1, 1] of total variation 1.
        price: ``|y(tau(alpha . + beta))| / V(alpha, beta)`` is at most this on the whole grid.
    """

    weights: Array
    directions: Array
    offsets: Array
    slack: float
    value: float
    price: float

    def lower(self, norm: float) -> float:
        """Combinations of the grid's particles of at most this norm err by this or more."""
        return max(0.0, self.value - norm * self.price)


class TradeOff:
    """The points, values and grid of one pair.

    Args:
        sigma: the source.
        tau: the target.
        order: p of the weight ``(1 + rho)^p``; RePU_s has ``rho^s``.

    Raises:
        DomainError: sigma, or every particle of tau, is not finite on [-1, 1].

    Example:
        >>> from jaxbarron.activations import activation
        >>> program = TradeOff(activation("identity"), activation("relu"), 1)
        >>> found = program.least_norm(0.1)  # z = z_+ - (-z)_+ costs 2; least error 1 - N/2
        >>> round(found.lower(1.0), 6), round(found.lower(1.8), 6)
        (0.5, 0.1)
    """

    def __init__(self, sigma: Activation, tau: Activation, order: int) -> None:
        self.sigma, self.tau, self.order = sigma, tau, order
        self.points = _points(sigma, tau)
        values = np.array(evaluate_program(sigma.program, self.points), np.float64)
        if not np.isfinite(values).all():
            raise DomainError(
                f"given: {sigma.name}, which is not finite on [-1, 1]; expected: a function that "
                "is; do: shift or scale its argument"
            )
        self.size = float(np.max(np.abs(values))) or 1.0
        self.values = values / self.size
        particles = _grid(sigma, tau)
        reach = np.abs(particles).sum(axis=1)
        s = tau.homogeneity
        weights = (1 + reach) ** order if s is None else reach**s
        with np.errstate(all="ignore"):
            blocks = [
                evaluate_program(tau.program, block[:, :1] * self.points + block[:, 1:])
                for block in np.array_split(particles, 16)  # a program keeps every register
            ]
            matrix = np.concatenate(blocks) / weights[:, None]
        size = np.max(np.abs(matrix), axis=1)
        keep = np.isfinite(size) & (size <= _LARGEST) & (size > 0)
        if not keep.any():
            raise DomainError(
                f"given: {tau.name}, of which no particle is finite on [-1, 1]; expected: a "
                "function on R; do: give one"
            )
        self.particles, self.weights, self.matrix = particles[keep], weights[keep], matrix[keep]
        _, group = np.unique(self.particles[:, 0], return_inverse=True)
        self.groups = [np.flatnonzero(group == g) for g in range(int(group.max()) + 1)]
        self.rows = np.arange(0, self.points.size, self.points.size // 32)
        self.columns = list(range(0, len(self.particles), max(1, len(self.particles) // 60)))

    def least_norm(self, error: float) -> LeastNorm | None:
        """The least norm with an error of at most ``error * sup |sigma|``, ``error`` > 0.

        None where the solver gives up.

        Where the grid cannot do it: a combination of large norm with a ``slack`` well above 0.
        """
        best = None
        for _ in range(_ROUNDS):
            step = self._solve(error)
            if step is None:
                break
            masses, slack, y = step
            prices = np.abs(self.matrix[:, self.rows] @ y)
            best = self._combination(masses, slack, y, float(prices.max()), error)
            norm, limit = float(np.abs(masses).sum()), (1 + slack) * (1 + _ERROR_GAP)
            # Theorem Trade-off curve, over the whole grid
            proved = best.lower(norm * self.size) / self.size
            settled = norm == 0 or proved >= (1 + slack) * (1 - _LOWER_GAP) * error
            residual = np.abs(self.values - masses @ self.matrix[self.columns]) / error
            if settled and residual.max() <= limit:
                break
            before = len(self.columns) + self.rows.size
            if not settled:
                self._add_columns(prices)
            self._add_rows(residual, limit)
            if len(self.columns) + self.rows.size == before:
                break
        return best

    def _combination(
        self, masses: Array, slack: float, y: Array, price: float, error: float
    ) -> LeastNorm:
        used = np.flatnonzero(np.abs(masses) > 1e-6 * error)
        used = used if used.size else np.zeros(1, np.int64)
        columns = np.array(self.columns)[used]
        weights = self.size * masses[used] / self.weights[columns]
        directions, offsets = self.particles[columns].T
        scale = float(np.abs(y).sum()) or 1.0
        value = self.size * abs(float(self.values[self.rows] @ y))
        return LeastNorm(weights, directions, offsets, slack, value / scale, price / scale)

    def _solve(self, error: float) -> tuple[Array, float, Array] | None:
        """Masses, slack t and multipliers y of: least ``|d|_1 + M t``, error ``(1 + t) error``.

        The rows are scaled by the error, since the solver's tolerances are absolute.
        """
        matrix = self.matrix[self.columns][:, self.rows].T / error
        values, (rows, count) = self.values[self.rows] / error, matrix.shape
        ones = np.ones((rows, 1))
        cost = np.ones(2 * count + 1)
        cost[-1] = _PENALTY
        arguments: dict[str, Any] = {
            "A_ub": np.block([[-matrix, matrix, -ones], [matrix, -matrix, -ones]]),
            "b_ub": np.concatenate([1 - values, 1 + values]),
            "bounds": (0, None),
            "options": {"maxiter": 20_000},
        }
        # The simplex method loses its way where particles are nearly parallel (silu, softplus).
        for method in ("highs-ds", "highs-ipm"):
            solved: Any = linprog(cost, method=method, **arguments)
            if solved.x is not None and solved.status == 0:
                break
        else:
            return None
        x, marginals = np.asarray(solved.x), np.asarray(solved.ineqlin.marginals)
        multipliers = (marginals[rows:] - marginals[:rows]) / error
        return x[:count] - x[count : 2 * count], float(x[-1]), multipliers

    def _add_columns(self, prices: Array) -> None:
        """The dearest particle of each direction, if its price is above 1: the dearest of these."""
        known = set(self.columns)
        best = [int(group[np.argmax(prices[group])]) for group in self.groups]
        asked = [c for c in best if prices[c] > 1 + 1e-6 and c not in known]
        self.columns += sorted(asked, key=lambda c: -prices[c])[:_COLUMNS]

    def _add_rows(self, residual: Array, limit: float) -> None:
        """The local maxima of the error that are above the limit."""
        padded = np.pad(residual, 1)
        peak = (residual >= padded[:-2]) & (residual >= padded[2:]) & (residual > limit)
        self.rows = np.union1d(self.rows, np.flatnonzero(peak))


def _points(sigma: Activation, tau: Activation) -> Array:
    """Points of [-1, 1]: Chebyshev's, the knots of particles, and a crowd at a kink of sigma."""
    points = [np.cos(np.pi * np.arange(_POINTS + 1) / _POINTS)]
    if tau.kinks:
        points.append(np.arange(-_KNOTS, _KNOTS + 1) / _KNOTS)
    steps = 2.0 ** -np.arange(5, _KINKED + 4, 0.25)
    for kink in sigma.kinks:
        points.append(kink.location + np.concatenate([-steps, [0.0], steps]))
    # Chebyshev's points are not exactly symmetric in floats, and would meet others twice.
    merged = np.unique(np.round(np.concatenate(points), 15)).astype(np.float64)
    return merged[np.abs(merged) <= 1]


def _grid(sigma: Activation, tau: Activation) -> Array:
    """Particles (alpha, beta) as rows; all but those at kinks of sigma are short dyadics."""
    if tau.homogeneity is not None:
        # Only the ratio matters; beta >= |alpha| gives polynomials, or a constant.
        bends, slopes = np.arange(-_KNOTS, _KNOTS + 1) / _KNOTS, np.arange(-31, 32) / 32
        ones = np.ones_like(bends)
        lines = np.column_stack([slopes, np.ones_like(slopes)])
        knots = [np.column_stack([side * ones, bends]) for side in (1, -1)]
        return np.concatenate([*knots, lines])
    constants = np.arange(-_OFFSETS, _OFFSETS + 0.25, 0.25)
    rows = [np.column_stack([np.zeros_like(constants), constants])]
    # With kinks, powers of two only: all knots are then among the points.
    ratio = 1.0 if tau.kinks else 0.5
    steepness = np.round(2.0 ** np.arange(-3, _STEEPEST + ratio, ratio) * 64) / 64
    bends = [kink.location for kink in sigma.kinks if abs(kink.location) < 1]
    marks = [kink.location for kink in tau.kinks] or [0.0]
    around = np.arange(-_OFFSETS, _OFFSETS + 0.5, 0.5)
    for alpha in steepness:
        step = 0.5 if alpha > 4 else 2.0 ** np.round(np.log2(max(alpha, 1.0) / 8))
        extent = step * np.ceil((alpha + _OFFSETS) / step)
        rows += _both_signs(alpha, np.arange(-extent, extent + step, step))
        rows += [
            np.array([[side * alpha, mark - side * alpha * bend]])
            for bend in bends for mark in marks for side in (1, -1)
        ]  # fmt: skip
    if tau.left is None and tau.right is None:
        # Perhaps a wave, of which sums need every frequency, not every size.
        for alpha in np.arange(_FREQUENCY, 2 * 2.0**_STEEPEST, _FREQUENCY):
            rows += _both_signs(alpha, _PHASES)
    for alpha in 2.0 ** np.arange(_STEEPEST + 1, _KINKED + 1):
        for bend in bends:
            rows += [
                np.column_stack([np.full_like(around, side * alpha), around - side * alpha * bend])
                for side in (1, -1)
            ]
    return np.unique(np.concatenate(rows), axis=0)


def _both_signs(alpha: float, offsets: Array) -> list[Array]:
    return [np.column_stack([np.full_like(offsets, side * alpha), offsets]) for side in (1, -1)]
