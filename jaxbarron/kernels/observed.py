"""The kernel that does least harm to data: fitted to the observed density of pre-activations.

Mean squares on the data choose the coefficients, and the density of the data where the knots go;
the tails stay pinned to the activation's lines, so that the sup norm stays finite and certified.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import least_squares

from jaxbarron.activations import Activation, activation
from jaxbarron.errors import ShapeError, UsageError
from jaxbarron.kernels.density import derivative_values
from jaxbarron.kernels.exact_tails import kernel_of_spline
from jaxbarron.kernels.knots import first_knots
from jaxbarron.kernels.minimax import Fit
from jaxbarron.kernels.rounding import rounded
from jaxbarron.kernels.spline_space import Array, Rows, Space, Target
from jaxbarron.kernels.splines import spline_problem
from jaxbarron.measures import ParticleMeasure

__all__ = ["observed_kernel"]

_MOST_SAMPLES = 256  # quantiles that stand for the data
_ELSEWHERE = 0.005  # the share of the weight that does not follow the data
_BINS = 200
_ROUNDS = 15


def observed_kernel(
    source: str | Activation, s: int, samples: Any, *, particles: int
) -> ParticleMeasure:
    """A kernel into RePU_s with a small mean-square error on observed numbers.

    Knots lie at equal steps of ``(|sigma^(s+1)|^2 density)^(1/(2 s + 3))`` (THEORY.md, Theorem
    Observed density), coefficients are those of least mean squares; the tails are exact, as those
    of :func:`jaxbarron.spline_kernel`.  Certify the result with
    :func:`jaxbarron.kernel_certificate`: the mean-square error is observed, the sup norm proved.

    Args:
        source: sigma, with asymptotic lines at both ends.
        s: 1, 2 or 3.
        samples: pre-activations, any shape.
        particles: the most particles to use, as for :func:`jaxbarron.spline_kernel`.

    Raises:
        ShapeError: fewer than two samples, or some that are not finite.
        UsageError: too few particles.

    Example:
        >>> import numpy as np
        >>> z = np.random.default_rng(0).normal(size=2000)
        >>> observed_kernel("gelu", 1, z, particles=12).particles
        12
    """
    sigma = activation(source)
    data = np.sort(np.asarray(samples, np.float64).ravel())
    if data.size < 2 or not np.isfinite(data).all():
        raise ShapeError(
            f"given: {data.size} samples; expected: at least two, all finite; do: collect the "
            "numbers that the activation is applied to"
        )
    target, (points, everywhere), overhead = spline_problem(sigma, s)
    count = particles - overhead
    if count < target.fewest:
        raise UsageError(
            f"given: particles={particles}; expected: at least {target.fewest + overhead} for "
            f"{sigma.name} into RePU_{s}; do: allow more particles"
        )
    if data.size > _MOST_SAMPLES:
        data = np.quantile(data, (np.arange(_MOST_SAMPLES) + 0.5) / _MOST_SAMPLES)
    solve = functools.partial(_least_squares, data=data)
    starts = [
        first_knots(target, count, points, mass, 2.0**-10)
        for mass in (_mass(sigma, s, points, data), everywhere)
    ]
    knots = min((_moved(target, start, data) for start in starts), key=lambda found: found[0])[1]
    fit = solve(target, knots)
    return kernel_of_spline(rounded(fit, 2 * fit.error, solve=solve))


def _moved(target: Target, knots: Array, data: Array) -> tuple[float, Array]:
    """Knots that leave less, with the coefficients always the best for them; and what is left."""

    def residual(logs: Array) -> Array:
        return _weighted(target, _knots_of(logs), data)[1]

    start = np.concatenate([knots[:1], np.log(np.diff(knots))])
    if target.kinks:
        return float(np.sum(residual(start) ** 2)), knots
    found = least_squares(residual, start, method="trf", x_scale="jac", max_nfev=_ROUNDS,
                          bounds=(start - 2.0, start + 2.0))  # fmt: skip
    return float(2 * found.cost), _knots_of(found.x)


def _knots_of(logs: Array) -> Array:
    return logs[0] + np.concatenate([[0.0], np.cumsum(np.exp(logs[1:]))])


def _mass(sigma: Activation, s: int, points: Array, data: Array) -> Array:
    """The integral over ``points`` of the density of knots."""
    spread = max(float(np.std(data)), 1e-6)
    heights, edges = np.histogram(data, bins=_BINS, density=True)
    centres = (edges[1:] + edges[:-1]) / 2
    width = 2.0 * spread * len(data) ** -0.2  # a usual width of a kernel density, doubled
    grid = np.exp(-0.5 * ((points[:, None] - centres) / width) ** 2)
    density = grid @ heights * np.diff(edges)[0] / (width * np.sqrt(2 * np.pi))
    bent = np.abs(np.nan_to_num(derivative_values(sigma, s + 1, points), posinf=0.0, neginf=0.0))
    floor = _ELSEWHERE * np.max(density) * (np.abs(points) < 8)
    power = (bent**2 * (density + floor)) ** (1 / (2 * s + 3))
    steps = 0.5 * (power[1:] + power[:-1]) * np.diff(points)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _least_squares(target: Target, knots: Array, exchanges: int = 0, *, data: Array) -> Fit:
    """The spline of least mean squares on the data, with a little weight everywhere."""
    del exchanges
    x, _, space, rows = _weighted(target, knots, data)
    error = float(np.max(np.abs(rows.residual - rows.basis @ x)))
    return Fit(space, x, error, rows, np.zeros(len(rows.residual)))


def _weighted(target: Target, knots: Array, data: Array) -> tuple[Array, Array, Space, Rows]:
    """The best coefficients, and the weighted residual that they leave."""
    space = Space(target, knots)
    rows = space.rows()
    first, last = space.breaks[0], space.breaks[-1]
    inside = data[(data > first) & (data < last)]
    basis, start = space.inside(inside)
    blocks = [rows.basis, basis]
    residuals = [rows.residual, np.asarray(target.f(inside)) - start]
    weights = [
        np.full(len(rows.residual), _ELSEWHERE / len(rows.residual)),
        np.full(len(inside), 1 / len(data)),
    ]
    for side, beyond in ((-1, data[data <= first]), (1, data[data >= last])):
        line = target.left if side < 0 else target.right
        assert line is not None
        blocks.append(space.outside(side, len(beyond)))
        residuals.append(np.asarray(target.f(beyond)) - line.slope * beyond - line.intercept)
        weights.append(np.full(len(beyond), 1 / len(data)))
    root = np.sqrt(np.concatenate(weights))
    matrix, wanted = sparse.vstack(blocks).toarray() * root[:, None], np.concatenate(residuals)
    x = np.asarray(np.linalg.lstsq(matrix, wanted * root, rcond=None)[0])
    return x, wanted * root - matrix @ x, space, rows
