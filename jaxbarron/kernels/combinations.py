"""Exact kernels of finitely many particles: linear combinations between activations.

The identities hold in the reals; a kernel holds their coefficients as doubles, so its certificate
shows an error at rounding level, and on all of R only where the slopes of the tails survive the
rounding exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from jaxbarron.activations import Activation, activation
from jaxbarron.measures import ParticleMeasure, unit_kernel

__all__ = ["bspline_kernel", "combination_kernel"]

_PIECEWISE_LINEAR = ("leaky_relu", "prelu", "abs", "hard_tanh", "hard_sigmoid", "relu6", "identity")


def combination_kernel(
    source: str | Activation, target: str | Activation, *, reach: float | None = None
) -> ParticleMeasure | None:
    """The exact finite kernel from source to target, or None where the library knows none.

    ======================= ===================== ========================= ==============
    source                  target                particles                 valid on
    ======================= ===================== ========================= ==============
    any                     itself                1                         R
    piecewise linear        ReLU                  kinks + at most 3         R
    ReLU                    leaky ReLU, PReLU     2                         R
    ReLU                    abs                   3                         a reach
    ReLU                    hard tanh             2                         a reach
    ReLU                    ReLU6, hard sigmoid   1                         a reach
    sigmoid / tanh          tanh / sigmoid        2                         R
    log cosh                softplus              4                         R
    swish, softplus, celu   the same family       1                         R
    ======================= ===================== ========================= ==============

    (THEORY.md, Theorem Linear combinations.)

    Args:
        source: the activation to represent.
        target: the activation of the particles.
        reach: needed by the kernels that are valid on a reach only; those are None without it.

    Example:
        >>> combination_kernel("hard_tanh", "relu").particles
        3
    """
    sigma, tau = activation(source), activation(target)
    if sigma == tau:
        return unit_kernel()
    if tau.name == "relu" and sigma.family in _PIECEWISE_LINEAR:
        return _piecewise_linear_to_relu(sigma)
    if sigma.name == "relu":
        return _relu_to_piecewise_linear(tau, reach)
    if sigma.family == tau.family and sigma.family in _SCALES:
        return _rescaled(sigma, tau)
    particles = _IDENTITIES.get((sigma.name, tau.name))
    return None if particles is None else _kernel(*particles)


def bspline_kernel(s: int) -> ParticleMeasure:
    """The cardinal B-spline of degree s >= 1, knots 0, ..., s + 1, as s + 2 RePU_s particles.

    ``B_s(z) = 1/s! sum_k (-1)^k binom(s+1, k) (z - k)_+^s``: the hat function for s = 1.

    Example:
        >>> bspline_kernel(1).weights[:, 0].tolist()
        [1.0, -2.0, 1.0]
    """
    k = np.arange(s + 2)
    weights = np.array([(-1) ** j * math.comb(s + 1, j) for j in k]) / math.factorial(s)
    return ParticleMeasure(weights[:, None], np.ones((s + 2, 1)), -k.astype(np.float64))


Particle = tuple[float, float, float]


def _kernel(*particles: Particle) -> ParticleMeasure:
    c, alpha, beta = (np.array(column, np.float64) for column in zip(*particles, strict=True))
    return ParticleMeasure(c[:, None], alpha[:, None], beta)


def _piecewise_linear_to_relu(sigma: Activation) -> ParticleMeasure:
    # The left line, then one ReLU for each kink: slopes add up exactly, since the jumps do.
    assert sigma.left is not None
    slope, intercept = sigma.left.slope, sigma.left.intercept
    particles: list[Particle] = []
    if slope:
        particles += [(slope, 1.0, 0.0), (-slope, -1.0, 0.0)]
    if intercept:
        particles.append((intercept, 0.0, 1.0))
    particles += [(kink.jumps[1], 1.0, -kink.location) for kink in sigma.kinks]
    if sigma.family in ("leaky_relu", "prelu"):
        # relu(z) - alpha relu(-z): two particles instead of three
        particles = [(1.0, 1.0, 0.0), (-slope, -1.0, 0.0)]
    if sigma.family == "abs":
        particles = [(1.0, 1.0, 0.0), (1.0, -1.0, 0.0)]
    return _kernel(*particles)


def _relu_to_piecewise_linear(tau: Activation, reach: float | None) -> ParticleMeasure | None:
    if tau.family in ("leaky_relu", "prelu") and tau.left is not None:
        alpha = tau.left.slope
        scale = 1 - alpha * alpha
        return None if scale == 0 else _kernel((1 / scale, 1.0, 0.0), (alpha / scale, -1.0, 0.0))
    if reach is None or not reach > 0:
        return None
    on_a_reach: dict[str, tuple[Particle, ...]] = {
        # z = (|z + rho| - |z - rho|) / 2 on |z| <= rho, and relu(z) = (|z| + z) / 2
        "abs": ((0.5, 1.0, 0.0), (0.25, 1.0, reach), (-0.25, 1.0, -reach)),
        # the ramp from 0 to rho, moved down to 0 by the constant hard_tanh(1) = 1
        "hard_tanh": ((reach / 2, 2 / reach, -1.0), (reach / 2, 0.0, 1.0)),
        "relu6": ((reach / 6, 6 / reach, 0.0),),
        "hard_sigmoid": ((reach, 6 / reach, -3.0),),
    }
    particles = on_a_reach.get(tau.name)
    return None if particles is None else _kernel(*particles)


# f_p(z) = f_1(alpha z) / gamma with (alpha, gamma) from the parameter p
_SCALES: dict[str, Callable[[float], float]] = {
    "swish": lambda beta: beta,
    "softplus": lambda beta: beta,
    "celu": lambda alpha: 1 / alpha,
}


def _parameter(sigma: Activation) -> float:
    return float(sigma.name.partition("(")[2].rstrip(")")) if "(" in sigma.name else 1.0


def _rescaled(sigma: Activation, tau: Activation) -> ParticleMeasure:
    scale = _SCALES[sigma.family]
    ratio = scale(_parameter(sigma)) / scale(_parameter(tau))
    return _kernel((1 / ratio, ratio, 0.0))


_IDENTITIES: dict[tuple[str, str], tuple[Particle, ...]] = {
    # sigmoid(z) = (1 + tanh(z/2)) / 2, the constant from a particle with direction 0
    ("sigmoid", "tanh"): ((0.5, 0.5, 0.0), (0.5 / math.tanh(1.0), 0.0, 1.0)),
    ("tanh", "sigmoid"): ((2.0, 2.0, 0.0), (-2.0, 0.0, 0.0)),
    # log cosh z = softplus(2z) - z - log 2; z = softplus(z) - softplus(-z), log 2 = softplus(0)
    ("log_cosh", "softplus"): (
        (1.0, 2.0, 0.0),
        (-1.0, 1.0, 0.0),
        (1.0, -1.0, 0.0),
        (-1.0, 0.0, 0.0),
    ),
}
