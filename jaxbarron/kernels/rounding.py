"""From an optimised spline to the dyadic one that is stored: which grid, at what loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from scipy.interpolate import BSpline

from jaxbarron.kernels.exact_tails import DyadicSpline, nearest_dyadic
from jaxbarron.kernels.minimax import FINEST, Fit, best_spline, peaks
from jaxbarron.kernels.spline_space import Array, Space, Target

__all__ = ["CUBIC_REACH", "estimated_error", "rounded"]

# How far a kernel into RePU_3 is good whose slopes no floats can hold exactly.
CUBIC_REACH = 2.0**20


# From a target and knots to a fit; the keyword tells how often points may be added.
Solver = Callable[..., Fit]


def rounded(fit: Fit, goal: float = 0.0, solve: Solver = best_spline) -> DyadicSpline:
    """The spline on the coarsest grid that costs neither accuracy nor the exactness of its tails.

    24-bit numbers come first: they are exact in single precision too.  Where equal gaps leave no
    24-bit solution of the tail conditions, one knot moves by one unit of the grid.
    """
    target, knots = fit.space.target, fit.space.knots
    gap = float(np.min(np.diff(target.breaks(knots)), initial=1.0))
    largest = max(1.0, np.max(np.abs(knots)), -5 * target.lower if target.left is None else 0.0)
    a = min(11 - math.floor(math.log2(gap)), 22 - math.floor(math.log2(largest)))
    found: list[tuple[tuple[Fraction, float], DyadicSpline]] = []
    for bits, finer, nudge in ((24, 0, 0), (24, 0, 1), (53, 0, 0), (53, 0, 1), (53, 6, 1)):
        spline = _on_grid(target, knots, a + finer, bits, nudge, solve)
        error, defect = estimated_error(target, spline), _slope_defect(target, spline)
        if error <= (goal or 1.005 * fit.error) and defect <= _least_defect(target, fit.error):
            return spline
        found.append(((defect, error), spline))
    return min(found, key=lambda pair: pair[0])[1]


def _slope_defect(target: Target, spline: DyadicSpline) -> Fraction:
    if target.right is None:
        return Fraction(0)
    return abs(spline.right_tail()[1] - Fraction(target.right.slope))


def _least_defect(target: Target, error: float) -> Fraction:
    """The defect of the right slope that is allowed: none, unless no floats can do without.

    For s = 3 both slopes of a kernel are multiples of 3 * 2^-k for some k, so an exact kernel
    needs lines that are; otherwise the defect must not show within the reach of such a kernel.
    """
    lines = [line for line in (target.left, target.right) if line is not None]
    if target.s < 3 or all(Fraction(line.slope).numerator % 3 == 0 for line in lines):
        return Fraction(0)
    return Fraction(1e-3 * error / CUBIC_REACH)


def _on_grid(
    target: Target, knots: Array, a: int, bits: int, nudge: int, solve: Solver
) -> DyadicSpline:
    s = target.s
    tau = [round(math.ldexp(t, a)) for t in knots]
    tau[next((k for k, t in enumerate(knots) if t not in target.fixed), 0)] -= nudge
    fit = solve(target, np.array([math.ldexp(t, -a) for t in tau]), exchanges=4)
    space = fit.space
    jumps, slope, constant = space.jumps(fit.x), 0.0, 0.0
    if target.left is None:
        step = 1 << max(0, math.ceil(math.log2(-target.lower)) + a)
        origin = round(math.ldexp(target.lower, a))
        tau = [origin - i * step for i in range(s, -1, -1)] + tau
        jumps = np.concatenate([_polynomial_jumps(fit, math.ldexp(step, -a)), jumps])
    else:
        slope, constant = target.left.slope, target.left.intercept + space.constants(fit.x)[0]
        short = float(np.float32(constant))
        if bits == 24 and abs(short - constant) <= 0.002 * fit.error:
            constant = short
    b = bits - 1 - math.ceil(math.log2(float(np.max(np.abs(jumps))) + 1e-300))
    empty = DyadicSpline(s, (), b, (), a, slope, constant)
    rise = None if target.right is None else Fraction(target.right.slope) - empty.left_slope
    points = space.grid(np.array([0.1, 0.35, 0.65, 0.9]))
    n = nearest_dyadic(jumps, tau, a, b, s, rise, points)
    return DyadicSpline(s, n, b, tuple(tau), a, slope, constant)


def _polynomial_jumps(fit: Fit, step: float) -> Array:
    """The first piece as sum_i c_i (z - lower + i step)^s, i = s, ..., 0; shape (s + 1,)."""
    s, space = fit.space.target.s, fit.space
    spline = BSpline(space.sequence, space.coefficients(fit.x), s)
    taylor = [float(spline(space.breaks[0], nu=j)) / math.factorial(j) for j in range(s + 1)]
    scaled = [taylor[j] * step**j / math.comb(s, j) for j in range(s + 1)]
    nodes = np.arange(s, -1, -1.0)
    matrix = np.array([nodes ** (s - j) for j in range(s + 1)])
    return np.asarray(np.linalg.solve(matrix, np.array(scaled)), dtype=np.float64) / step**s


def estimated_error(target: Target, spline: DyadicSpline) -> float:
    """sup |f - spline|, estimated: the extrema of the pieces, the tails and their limits."""

    def error_at(z: Array) -> Array:
        return np.abs(target.f(z) - spline.value(z))

    movable = spline.knots[target.s + 1 :] if target.left is None else spline.knots
    _, error = peaks(error_at, target.breaks(movable), FINEST)
    space = Space(target, movable)
    for side in (-1, 1):
        points, _ = space.tails(side)
        error = max(error, float(np.max(error_at(points[np.isfinite(points)]), initial=0.0)))
    if target.left is not None and math.isinf(target.lower):
        error = max(error, abs(spline.constant - target.left.intercept))
    if target.right is not None:
        error = max(error, abs(float(spline.right_tail()[0]) - target.right.intercept))
    return error
