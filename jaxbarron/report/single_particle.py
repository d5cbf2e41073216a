"""The best single scaled particle for the pre-activations that a site meets."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from scipy import optimize

from jaxbarron.activations import Activation
from jaxbarron.measures import ParticleMeasure
from jaxbarron.programs import evaluate_program

__all__ = ["fitted_particle"]

_MOST = 4000  # the mean square over so many values is known to about 2 %


def fitted_particle(source: Activation, target: Activation, z: np.ndarray) -> ParticleMeasure:
    """The kernel ``a tau(alpha z + beta)`` of least mean square error at the values ``z``.

    For each (alpha, beta) the factor a is a quotient of two sums; the two are found by Nelder and
    Mead's method from several starts, so the minimum is a local one that no start undercut.  For
    RePU_s, where a scale of alpha is one of a, alpha is 1 or -1.

    Args:
        source: sigma.
        target: tau.
        z: pre-activations, shape (n,).

    Example:
        >>> from jaxbarron.activations import activation
        >>> z = np.linspace(-2.0, 2.0, 101)
        >>> kernel = fitted_particle(activation("relu"), activation("relu"), z)
        >>> bool(abs(kernel.weights[0, 0] - 1) < 1e-6 and abs(kernel.offsets[0]) < 1e-3)
        True
    """
    z = np.asarray(z, np.float64)[:: max(1, len(z) // _MOST)]
    wanted = evaluate_program(source.program, z)
    wanted = np.broadcast_to(np.asarray(wanted, np.float64), z.shape)

    def best(alpha: float, beta: float) -> tuple[float, float]:
        shape = np.broadcast_to(evaluate_program(target.program, alpha * z + beta), z.shape)
        square = float(shape @ shape)
        factor = float(shape @ wanted) / square if square > 0 else 0.0
        error = float(np.mean((factor * shape - wanted) ** 2))
        return (error if np.isfinite(error) else np.inf), factor

    fixed = target.homogeneity is not None
    scale = float(np.std(z)) or 1.0
    starts = itertools.product((1.0, -1.0) if fixed else (1.0, -1.0, 0.5, 2.0),
                               (0.0, 0.5 * scale, -0.5 * scale))  # fmt: skip
    found: list[tuple[float, float, float]] = []
    for alpha, beta in starts:
        if fixed:
            made: Any = optimize.minimize(
                lambda x, alpha=alpha: best(alpha, x[0])[0], [beta], method="Nelder-Mead"
            )
            found.append((float(made.fun), alpha, float(made.x[0])))
        else:
            made = optimize.minimize(lambda x: best(*x)[0], [alpha, beta], method="Nelder-Mead")
            found.append((float(made.fun), float(made.x[0]), float(made.x[1])))
    _, alpha, beta = min(found)
    return ParticleMeasure(
        np.array([[best(alpha, beta)[1]]]), np.array([[alpha]]), np.array([beta])
    )
