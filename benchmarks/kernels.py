"""How near a kernel of K knots comes to the asymptotic limit, beside SciPy's spline interpolant.

The limit is that of free knots, K -> infinity (THEORY.md, Theorem Equidistribution
limit).  The peer is
``scipy.interpolate.make_interp_spline`` of the same degree through K points spread by the same
density, continued by the asymptotic lines: what one writes without this library.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import make_interp_spline

from jaxbarron.activations import Activation, Line, activation, repu
from jaxbarron.certify import certified_kernel
from jaxbarron.kernels.density import spline_limit
from jaxbarron.plots import knots_of
from jaxbarron.programs import evaluate_program

__all__ = ["KernelFigure", "kernel_figures"]

_SOURCES = ("tanh", "gelu", "silu", "softplus")
_SIZES = (8, 16, 32, 64, 128)
_FAR = 40.0  # past it every source here is its line to double precision


@dataclass(frozen=True)
class KernelFigure:
    """One kernel: certified error, its ratio to limit / K^(s+1), and the peer's ratio."""

    source: str
    s: int
    knots: int
    error: float
    level: str
    ratio: float
    scipy_error: float
    scipy_ratio: float


def kernel_figures(
    quick: bool, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[KernelFigure]:
    """All figures; ``progress`` is given (figures there, figures wanted) after each."""
    sources, sizes = (("tanh", "gelu"), (8,)) if quick else (_SOURCES, _SIZES)
    figures: list[KernelFigure] = []
    for name in sources:
        sigma = activation(name)
        for s in (1, 2, 3):
            limit = spline_limit(sigma, s)
            for size in sizes:
                figures.append(_figure(sigma, s, size, limit))
                progress(len(figures), 3 * len(sources) * len(sizes))
    return figures


def _figure(sigma: Activation, s: int, size: int, limit: float) -> KernelFigure:
    assert sigma.left is not None
    # the constant of the left line costs one particle beside the knots
    particles = size + (sigma.left.intercept != 0)
    kernel, certificate = certified_kernel(sigma, repu(s), particles=particles)
    peer = _peer_error(sigma, s, size)
    knots = len(knots_of(kernel))
    scale = limit / knots ** (s + 1)
    return KernelFigure(
        sigma.name,
        s,
        knots,
        certificate.upper,
        certificate.level,
        certificate.upper / scale,
        peer,
        peer * size ** (s + 1) / limit,
    )


def _peer_error(sigma: Activation, s: int, size: int) -> float:
    left, right = sigma.left, sigma.right
    assert left is not None
    assert right is not None
    grid = np.linspace(-_FAR, _FAR, 160_001)
    with jax.enable_x64(True):
        derivative: Callable[..., Any] = sigma.fn
        for _ in range(s + 1):
            derivative = jax.grad(derivative)
        density = np.abs(np.asarray(jax.vmap(derivative)(jnp.asarray(grid)))) ** (1 / (s + 1))
    share = np.cumsum(density) / density.sum()
    points = np.interp((np.arange(size) + 0.5) / size, share, grid)
    exact = evaluate_program(sigma.program, grid)
    # a cubic has two conditions left beside its points: the slopes of the two lines
    ends: Any = ([(1, left.slope)], [(1, right.slope)]) if s == 3 else None
    spline = make_interp_spline(points, evaluate_program(sigma.program, points), k=s, bc_type=ends)
    values = spline(np.clip(grid, points[0], points[-1]))
    outside = (grid < points[0], left), (grid > points[-1], right)
    for where, line in outside:
        values = np.where(where, _on(line, grid), values)
    error = float(np.abs(exact - values).max())
    return error if math.isfinite(error) else math.inf


def _on(line: Line, z: np.ndarray) -> np.ndarray:
    return line.slope * z + line.intercept
