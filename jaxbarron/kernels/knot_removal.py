"""Knot removal: a kernel of fewer particles, near the old one where the data is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxbarron.activations import Activation, activation
from jaxbarron.errors import ShapeError, UsageError
from jaxbarron.measures import ParticleMeasure, check_kernel
from jaxbarron.programs import evaluate_program

__all__ = ["Removal", "remove_particles"]

_RIDGE = 1e-12  # of the mean of the Gram matrix's diagonal: what doubles resolve of its inverse


@dataclass(frozen=True, eq=False)
class Removal:
    """A kernel after the removal of particles.

    Attributes:
        kept: which particles are left, ascending, shape (K',).
        kernel: those, with their new weights.
        change: the root mean square of ``new - old`` over the values.
        bound: what Theorem Removed particle says of it beforehand, ``change <= bound``.
    """

    kept: Any
    kernel: ParticleMeasure
    change: float
    bound: float


def remove_particles(
    kernel: ParticleMeasure, target: str | Activation, z: Any, particles: int
) -> Removal:
    """Take particles away one after the other, each time the one whose loss changes least.

    Before each step the least change that every removal makes in the mean square over ``z`` is
    known in closed form, with the weights of the particles that stay fitted again (THEORY.md,
    Theorem Removed particle).  The choice is greedy; each step is optimal.

    Args:
        kernel: d = m = 1, K particles, known numbers; read as doubles.
        target: tau.
        z: pre-activations as they are met, shape (n,): a sample of their density.
        particles: how many are left, from 1 to K.

    Raises:
        ShapeError: the measure is no kernel, or z is not of shape (n,) with n >= 1.
        UsageError: ``particles`` is not from 1 to K.

    Example:
        >>> from jaxbarron.kernels.splines import spline_kernel
        >>> z = np.linspace(-3.0, 3.0, 301)
        >>> found = remove_particles(spline_kernel("gelu", 1, particles=16), "relu", z, 8)
        >>> found.kernel.particles, found.change <= found.bound < 0.05
        (8, True)
    """
    tau = activation(target)
    check_kernel(kernel)
    z = np.asarray(z, np.float64)
    if z.ndim != 1 or not z.size:
        raise ShapeError(
            f"given: values of shape {z.shape}; expected: (n,), n >= 1; do: pass z.ravel()"
        )
    if not 1 <= particles <= kernel.particles:
        raise UsageError(
            f"given: particles={particles} of {kernel.particles}; expected: from 1 to "
            f"{kernel.particles}; do: choose how many are left"
        )
    weights, alpha, beta = (
        np.asarray(x, np.float64).reshape(-1)
        for x in (kernel.weights, kernel.directions, kernel.offsets)
    )
    design = np.stack([
        np.broadcast_to(evaluate_program(tau.program, a * z + b), z.shape)
        for a, b in zip(alpha.tolist(), beta.tolist(), strict=True)
    ], axis=1)  # fmt: skip
    kept, bound = _eliminated(design, weights, particles)
    new = weights[kept] + _fitted(
        design[:, kept], design @ weights - design[:, kept] @ weights[kept]
    )
    change = np.sqrt(np.mean((design[:, kept] @ new - design @ weights) ** 2))
    fewer = ParticleMeasure(new[:, None], alpha[kept][:, None], beta[kept])
    return Removal(kept, fewer, float(change), bound)


def _eliminated(design: Any, weights: Any, particles: int) -> tuple[Any, float]:
    """Which columns stay, and the root of the sum of the least changes."""
    gram = design.T @ design / len(design)
    size = _sizes(design)
    gram = gram / np.outer(size, size) + _RIDGE * len(size) * np.eye(len(size))
    c, kept, inverse = weights * size, np.arange(len(size)), np.linalg.inv(gram)
    total = 0.0
    while len(kept) > particles:
        diagonal = np.maximum(np.diag(inverse), np.finfo(float).tiny)
        k = int(np.argmin(c**2 / diagonal))
        total += c[k] ** 2 / diagonal[k]
        column = inverse[:, k]
        c = np.delete(c - c[k] / diagonal[k] * column, k)
        inverse = inverse - np.outer(column, column) / diagonal[k]
        inverse = np.delete(np.delete(inverse, k, 0), k, 1)
        kept = np.delete(kept, k)
    return kept, float(np.sqrt(total))


def _fitted(design: Any, missing: Any) -> Any:
    """The shortest step of the weights that makes up for what is missing.

    It is where the eliminations end, without their rounding.
    """
    size = _sizes(design)
    return np.linalg.lstsq(design / size, missing, rcond=_RIDGE)[0] / size


def _sizes(design: Any) -> Any:
    """Of the columns: scaled to one size, a ridge weighs all alike; one that is zero stays so."""
    return np.sqrt(np.maximum(np.mean(design**2, axis=0), np.finfo(float).tiny))
