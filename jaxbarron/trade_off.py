"""The least norm of a kernel for each error, on given knots: the curve between the two aims.

THEORY.md, Theorem Trade-off curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from jaxbarron.activations import Activation, activation
from jaxbarron.certificates import Certificate, kernel_certificate
from jaxbarron.domains import Ball
from jaxbarron.errors import ToleranceError, UnreachableTargetError, UsageError
from jaxbarron.kernels.matched_cells import matched_nodes
from jaxbarron.kernels.sharp import check_reach, kernel_of_particles, polynomial_columns
from jaxbarron.measures import ParticleMeasure
from jaxbarron.norms import norm
from jaxbarron.programs import evaluate_program

__all__ = ["TradeOffPoint", "trade_off_curve"]

Array = NDArray[np.float64]

_POWERS = np.linspace(-1, 1, 33)
_IN_A_GAP = 0.5 - 0.5 * np.cos(np.pi * np.arange(7) / 6)
_CHECKED = np.linspace(0, 1, 33)
_MARGIN = 1e-2  # of an error, left to what happens between the points
_ROUNDS = 4
_FROM_LEAST = 1.1  # the least error of the default list, in units of the least one there is
_EXACT = 1e-6  # of sup |sigma|: no smaller error is in the default list
_ZERO = 1e-12  # of the largest cost of a particle: below, it is rounding
_DENSE = 96  # knots where only errors are given


@dataclass(frozen=True, eq=False)
class TradeOffPoint:
    """One kernel of the curve.

    Attributes:
        norm: ``norm(kernel, Ball(reach), order=s)``, in doubles.
        error: the certified error, ``certificate.upper``.
        kernel: the kernel.
        certificate: its ordinary certificate, on the reach.
    """

    norm: float
    error: float
    kernel: ParticleMeasure
    certificate: Certificate


def trade_off_curve(
    source: str | Activation,
    target: str | Activation,
    reach: float,
    *,
    knots: int | None = None,
    errors: Sequence[float] | None = None,
    points: int = 8,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[TradeOffPoint, ...]:
    """Kernels of least norm for falling errors, on the knots of :func:`jaxbarron.sharp_kernel`.

    For each error e a linear program (HiGHS) finds the least norm of RePU_s particles with their
    kink at the knots, to both sides, and of 33 powers, that come within e at a grid of points; the
    error of the kernel that results is then certified.  The least norm falls and is convex in e
    (THEORY.md, Theorem Trade-off curve); each error certified is at most the one asked for.

    Args:
        source: sigma.
        target: RePU_s, s = 1, 2 or 3.
        reach: a finite number > 0.
        knots: about how many, spread by |sigma^(s+1)|^(1/(s+1)); left out: 96.
        errors: the errors allowed, in any order; left out: from near the least one that the knots
            allow to sup |sigma|, at equal ratios.
        points: how many errors, where they are left out.
        progress: called with (done, total) after each kernel.

    Returns:
        One point for each error, with falling errors.

    Raises:
        UsageError: another target, ``knots`` < 1 or ``points`` < 2.
        DomainError: the reach is not a finite number > 0.
        ToleranceError: an error is not positive, or less than these knots allow.
        UnreachableTargetError: a derivative of sigma below order s jumps inside.

    Example:
        >>> curve = trade_off_curve("tanh", "relu", 2.0, knots=6, errors=[0.5, 0.05])
        >>> [point.error <= e for point, e in zip(curve, (0.5, 0.05))]
        [True, True]
        >>> curve[0].norm < curve[1].norm
        True
    """
    sigma, tau = activation(source), activation(target)
    s = tau.homogeneity
    if s not in (1, 2, 3):
        raise UsageError(
            f"given: the target {tau.name}; expected: RePU_s with s = 1, 2 or 3; do: e.g. relu"
        )
    if (knots is not None and knots < 1) or points < 2:
        raise UsageError(
            f"given: knots={knots}, points={points}; expected: at least one knot and two points; "
            "do: e.g. knots=16"
        )
    for e in errors or ():
        if not (math.isfinite(e) and e > 0):
            raise ToleranceError(
                f"given: an error of {e}; expected: finite numbers > 0; do: e.g. 1e-2"
            )
    check_reach(sigma, s, reach)
    program = _Program(sigma, s, reach, _DENSE if knots is None else knots)
    least = program.least_error()
    if errors is None:
        largest = max(program.size, 2 * least)
        smallest = max(_FROM_LEAST * least, _EXACT * program.size)
        wanted = np.geomspace(largest, smallest, points).tolist()
    else:
        wanted = sorted(errors, reverse=True)
    curve: list[TradeOffPoint] = []
    for e in wanted:
        curve.append(_point(program, tau, e, least))
        progress(len(curve), len(wanted))
    return tuple(curve)


def _point(program: _Program, tau: Activation, error: float, least: float) -> TradeOffPoint:
    kernel = program.least_norm(error * (1 - _MARGIN)) if error > least else None
    certificate = None
    if kernel is not None:
        certificate = kernel_certificate(kernel, program.sigma, tau, reach=program.reach)
    if kernel is None or certificate is None or certificate.upper > error:
        raise ToleranceError(
            f"given: an error of {error:g}; expected: more than {least:.3g}, the least on "
            f"{program.places.size} knots; do: allow more, or give more knots"
        )
    with jax.enable_x64(True):
        cost = float(norm(kernel, Ball(program.reach), order=program.s))
    return TradeOffPoint(cost, certificate.upper, kernel, certificate)


class _Program:
    """The columns of one set of knots, in y = z/R, and the points."""

    def __init__(self, sigma: Activation, s: int, reach: float, knots: int) -> None:
        self.sigma, self.s, self.reach = sigma, s, reach
        cells = knots if s == 1 else max(1, knots // 2)
        nodes = matched_nodes(sigma, s, reach, cells)
        self.places = np.unique(nodes.places)
        breaks = np.concatenate([[-reach], self.places, [reach]])
        self.widths, self.left = np.diff(breaks)[:, None], breaks[:-1, None]
        self.points = np.unique((self.left + self.widths * _IN_A_GAP).reshape(-1))
        self.checked = np.unique((self.left + self.widths * _CHECKED).reshape(-1))
        knot_prices = (1 + np.abs(self.places / reach)) ** s
        self.prices = np.concatenate([knot_prices, knot_prices, polynomial_columns(_POWERS, s)[1]])
        self.size = float(np.max(np.abs(self.values(self.checked))))

    def values(self, z: Array) -> Array:
        return np.asarray(evaluate_program(self.sigma.program, z), np.float64)

    def columns(self, z: Array) -> Array:
        """Right and left particles at the knots, then the powers; each has the reach 1 over R."""
        y, s = z / self.reach, self.s
        difference = y[:, None] - self.places / self.reach
        alpha = 1 - np.abs(_POWERS)
        powers = (alpha * y[:, None] + _POWERS) ** s
        right, left = np.maximum(difference, 0) ** s, np.maximum(-difference, 0) ** s
        return np.hstack([right, left, powers])

    def least_error(self) -> float:
        matrix, goal = self.columns(self.points), self.values(self.points) / self.size
        cost = np.zeros(2 * matrix.shape[1] + 1)
        cost[-1] = 1.0
        found = self._solved(cost, matrix, goal, np.ones(goal.size), np.zeros(goal.size))
        if found is None:
            raise UnreachableTargetError(
                f"given: {self.sigma.name} into RePU_{self.s} on |z| <= {self.reach:g}, where the "
                "linear program found no solution; expected: a scale that doubles hold; do: give "
                "a smaller reach, or fewer knots"
            )
        return float(found[-1]) * self.size

    def least_norm(self, error: float) -> ParticleMeasure | None:
        """The kernel; None where the points between those of the program keep an error above."""
        points, kernel = self.points, None
        for _ in range(_ROUNDS):
            matrix, goal = self.columns(points), self.values(points)
            cost = np.concatenate([self.prices, self.prices])
            # in units of the error, since the solver's tolerances are absolute
            ones = np.ones(goal.size)
            found = self._solved(cost, matrix, goal / error, 0 * ones, ones)
            if found is None:
                return None
            count = self.prices.size
            weights = (found[:count] - found[count : 2 * count]) * error
            costs = np.abs(weights) * self.prices
            weights = np.where(costs > _ZERO * costs.max(initial=0.0), weights, 0)
            kernel = self._kernel(weights)
            left = np.abs(self.values(self.checked) - self.columns(self.checked) @ weights)
            over = self.checked[left > error * (1 + _MARGIN / 2)]
            if not over.size:
                return kernel
            points = np.union1d(points, over)
        return kernel

    def _solved(
        self, cost: Array, matrix: Array, goal: Array, slack: Array, allowed: Array
    ) -> Array | None:
        """Least cost of ``|matrix x - goal| <= allowed + slack t``, x = plus - minus, and t."""
        extra = slack[:, None] if cost.size % 2 else np.zeros((goal.size, 0))
        solved: Any = linprog(
            cost,
            A_ub=np.block([[-matrix, matrix, -extra], [matrix, -matrix, -extra]]),
            b_ub=np.concatenate([allowed - goal, allowed + goal]),
            bounds=(0, None),
            method="highs",
        )
        return None if solved.x is None or solved.status != 0 else np.asarray(solved.x)

    def _kernel(self, weights: Array) -> ParticleMeasure:
        count, scale = self.places.size, self.reach**self.s
        right, left = weights[:count] / scale, weights[count : 2 * count] / scale
        powers = weights[2 * count :]
        return kernel_of_particles(self.s, self.reach, self.places, right, left, _POWERS, powers)
