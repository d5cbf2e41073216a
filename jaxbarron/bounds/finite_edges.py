"""Edges from exact kernels that need no integral of D: identities, and the hierarchy."""

from __future__ import annotations

import math

import flint

from jaxbarron.activations import Activation
from jaxbarron.balls.series import working_precision
from jaxbarron.balls.suprema import upper_float
from jaxbarron.bounds.edge import Edge, make_edge
from jaxbarron.bounds.identities import find_identity
from jaxbarron.kernels import hierarchy_constant

__all__ = ["hierarchy", "linear_combination", "unit"]

_BITS = 192


def unit(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Push-forward: the unit kernel."""
    if source != target:
        return None
    return Edge(source, target, order, "unit", 1.0, "Theorem Push-forward", "the same function")


def linear_combination(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Finite kernel cost."""
    if source == target or source.homogeneity == 0:
        return None
    with working_precision(_BITS):
        identity = find_identity(source, target)
        if identity is None:
            return None
        power, s = source.homogeneity, target.homogeneity
        if s is not None and order < s:
            return None
        if power is None:
            base = 0 if s is not None else 1
            near, far = flint.arb(0), flint.arb(0)
            for c, alpha, beta in identity.particles:
                near += abs(c) * (base + abs(beta)) ** (s or order)
                far += abs(c) * abs(alpha) ** (s or order)
            cost = near.max(far)
        elif identity.reach is not None:
            cost = sum(abs(c) * (1 + abs(a) + abs(b)) ** order for c, a, b in identity.particles)
        elif order == power:
            cost = sum(abs(c) * abs(a) ** order for c, a, _ in identity.particles)
        else:
            return None
        upper = upper_float(flint.arb(cost))
    theorem = "Theorem Finite kernel cost"
    return make_edge(source, target, order, "linear combination", upper, theorem, identity.formula)


def hierarchy(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Hierarchy."""
    t, s = source.homogeneity, target.homogeneity
    if t is None or s is None or not t > s >= 0:
        return None
    factor = math.factorial(t) // (math.factorial(s) * math.factorial(t - s - 1))
    power = "" if t == s + 1 else "u " if t == s + 2 else f"u^{t - s - 1} "
    formula = f"z_+^{t} = {factor} int_0^rho {power}(z - u)_+^{s} du"
    upper = float(hierarchy_constant(t, s)) if s else 1.0
    return make_edge(source, target, order, "hierarchy", upper, "Theorem Hierarchy", formula)
