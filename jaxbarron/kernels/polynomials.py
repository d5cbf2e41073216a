"""Polynomials of degree <= s as RePU_s particles.

On ``|z| <= reach`` a *dominated* particle ``(1 + alpha z)_+^s`` with ``|alpha| reach <= 1`` is the
plain polynomial ``(1 + alpha z)^s``, and s + 1 of them with distinct alpha span all polynomials of
degree <= s (THEORY.md, Theorem Dominated particles).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from jaxbarron.measures import ParticleMeasure

__all__ = ["dominated_polynomial"]


def dominated_polynomial(
    coefficients: NDArray[np.float64], s: int, reach: float
) -> ParticleMeasure:
    """The kernel of ``sum_j coefficients[j] z**j`` by dominated RePU_s particles.

    Args:
        coefficients: shape (j + 1,) with j <= s, in ascending powers.
        s: the power of the target RePU_s, >= 1.
        reach: how far the kernel is valid: equality holds on ``|z| <= reach``.

    Example:
        >>> square = dominated_polynomial(np.array([0.0, 0.0, 1.0]), 2, 4.0)
        >>> square.directions[:, 0].tolist(), square.weights[:, 0].tolist()
        ([0.25, 0.0, -0.25], [8.0, -16.0, 8.0])
    """
    # With y = z / reach the nodes are Chebyshev points: the well conditioned choice on [-1, 1].
    nodes = np.sin(np.pi * (s - 2 * np.arange(s + 1)) / (2 * s))  # exactly odd
    scaled = np.zeros(s + 1)
    scaled[: coefficients.size] = coefficients * reach ** np.arange(coefficients.size)
    # (1 + a y)^s = sum_j binom(s, j) a^j y^j
    binomials = np.array([math.comb(s, j) for j in range(s + 1)])
    matrix = binomials[:, None] * nodes[None, :] ** np.arange(s + 1)[:, None]
    weights = np.linalg.solve(matrix, scaled)
    keep = weights != 0
    if not keep.any():
        keep[0] = True
    return ParticleMeasure(
        weights[keep, None], (nodes[keep] / reach)[:, None], np.ones(int(keep.sum()))
    )
