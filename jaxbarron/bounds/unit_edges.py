"""Edges into exponential linear units, by inverting a convolution, and into cosines."""

from __future__ import annotations

import math
from typing import Any

import flint

from jaxbarron.activations import Activation
from jaxbarron.balls.series import working_precision
from jaxbarron.balls.suprema import upper_float
from jaxbarron.bounds.constants import weighted_moment
from jaxbarron.bounds.edge import Edge, make_edge
from jaxbarron.bounds.lines import tail_line
from jaxbarron.kernels import hierarchy_constant

__all__ = ["inverse_convolution", "resolvent", "spectrum"]

_BITS = 192


def inverse_convolution(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Inverse convolution: ReLU as an integral of ELUs whose slope jumps."""
    if source.homogeneity != 1 or order != 1 or target.family not in ("elu", "selu"):
        return None
    with working_precision(_BITS):
        unit = _exponential_unit(target)
        if unit is None:
            return None
        scale, alpha, decay = unit
        eta = decay - alpha
        if eta.contains(0):
            return None
        upper = upper_float((abs(decay / eta) + abs(1 - decay / eta)) / scale)
    formula = "relu(z) = int tau(z - t) dkappa(t), kappa = (1 - d/dz)/(1 - eta d/dz) delta"
    theorem = "Theorem Inverse convolution"
    return make_edge(source, target, order, "inverse convolution", upper, theorem, formula)


def resolvent(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Resolvent: tau'' is the kernel of (1 - L d/dz)^-1."""
    if order != 1 or source == target:
        return None
    theorem = "Theorem Resolvent"
    with working_precision(_BITS):
        unit = _exponential_unit(target)
        power = source.homogeneity
        if power is not None:
            if unit is None or unit[1] != unit[2] or power < 2:
                return None
            formula = f"z_+^{power} = lim int (sigma'' - L sigma''')(t) tau(u z - t) dt / u^{power}"
            cost = float(hierarchy_constant(power, 1))
            return make_edge(source, target, order, "resolvent", cost, theorem, formula)
        own = _exponential_unit(source)
        if unit is None or unit[1] != unit[2] or (own is not None and own[2] == unit[2]):
            return None  # of units with the same decay one is the other, or its slope jumps
        decay = unit[2]
        lines = tail_line(source, -1), tail_line(source, 1)
        if lines[0] is None or lines[1] is None:
            return None
        length = float(decay.mid())
        density = weighted_moment(source, {2: 1.0, 3: -length}, 1).upper
        if not math.isfinite(density):
            return None
        (intercept, slope), (_, last) = lines[0], lines[1]
        constant = abs(intercept + decay * (last - slope))
        affine = (2 * abs(slope)).max(abs(slope) + constant)
        upper = upper_float(flint.arb(density) + affine)
    formula = "sigma(z) = A(z) + int (sigma'' - L sigma''')(t) tau(z - t) dt, A a line"
    return make_edge(source, target, order, "resolvent", upper, theorem, formula)


def _exponential_unit(tau: Activation) -> tuple[Any, Any, Any] | None:
    """S, alpha, L of ``S z (z > 0), S alpha (exp(z / L) - 1)``, with L = 1 or alpha = L."""
    kink = next((k for k in tau.kinks if k.location == 0), None)
    if kink is None or tau.right is None or tau.left is None:
        return None
    scale = flint.arb(tau.right.slope)
    if tau.family == "elu":
        return scale, flint.arb(-tau.left.intercept), flint.arb(1)
    if tau.family == "celu":
        return scale, flint.arb(-tau.left.intercept), flint.arb(-tau.left.intercept)
    if tau.family == "selu":
        # jax.nn.selu multiplies elu by the two constants of Klambauer et al. (2017)
        return scale, flint.arb(1.6732632423543772848170429916717), flint.arb(1)
    return None


def spectrum(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Gaussian spectrum."""
    if source.name != "gaussian" or target.name != "cos":
        return None
    with working_precision(_BITS):
        # E max(1, |xi|)^p for a normal xi of variance 2, in closed form for p = 1
        if order != 1:
            return None
        half = flint.arb(1) / 2
        upper = upper_float(half.erf() + 2 * (-(half**2)).exp() / flint.arb.pi().sqrt())
    formula = "exp(-z^2) = int exp(-xi^2/4) / (2 sqrt(pi)) cos(xi z) dxi"
    theorem = "Theorem Gaussian spectrum"
    return make_edge(source, target, order, "spectrum", upper, theorem, formula)
