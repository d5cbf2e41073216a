"""Edges into erf: mixtures of gaussians, and any smooth function by the heat equation.

A measure whose cost on a particle of reach rho is ``K_0 + K_1 rho`` is handed on as the pair of
both numbers; over ``1 + rho`` it is at most the larger one.
"""

from __future__ import annotations

from typing import Any

import flint

from jaxbarron.activations import Activation
from jaxbarron.balls.series import working_precision
from jaxbarron.balls.suprema import upper_float
from jaxbarron.bounds.constants import absolute_moment
from jaxbarron.bounds.edge import Edge, make_edge

__all__ = ["constant_in_erf", "heat", "heat_cost", "mixture"]

_BITS = 128
Moments = tuple[Any, Any, Any, Any]  # int |f'|, int |u f'|, int |df''|, int |u| |df''|

# theta of the gaussian's kernel; theta and eta of a power's, near the least cost
_THETA = flint.fmpq(3, 5)
_POWERS = {
    1: (flint.fmpq(9, 10), flint.fmpq(1)),
    2: (flint.fmpq(2, 5), flint.fmpq(2, 5)),
    3: (flint.fmpq(3, 10), flint.fmpq(3, 10)),
}


def mixture(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Gaussian mixture: sigma' is a mixture of gaussians of all widths about 0."""
    if target.name != "erf" or order != 1:
        return None
    with working_precision(_BITS):
        half, one = flint.arb(1) / 2, flint.arb(1)
        # the value at 0, the rise from 0 to infinity, the slope at 0
        facts = {
            "tanh": (one * 0, one, one),
            "sigmoid": (half, half, half / 2),
            "arctan": (one * 0, flint.arb.pi() / 2, one),
            "softsign": (one * 0, one, one),
        }
        if source.name not in facts:
            return None
        middle, rise, slope = facts[source.name]
        near = middle * constant_in_erf() + rise
        upper = upper_float(near.max(flint.arb.pi().sqrt() / 2 * slope))
    formula = "sigma(z) = sigma(0) + int sqrt(pi)/(2 sqrt(v)) erf(sqrt(v) z) W(dv), W >= 0"
    return make_edge(source, target, order, "mixture", upper, "Theorem Gaussian mixture", formula)


def constant_in_erf() -> Any:
    """What the constant 1 costs, ``erf(0 z + 1)/erf(1)``."""
    return 2 / flint.arb(1).erf()


def heat(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Heat kernel: a gaussian, the identity and RePU_t, t >= 2, by erf of all widths."""
    if target.name != "erf" or order != 1:
        return None
    with working_precision(_BITS):
        if source.name == "gaussian":
            near, far = heat_cost(_of_gaussian(source), flint.arb(_THETA))
            upper = upper_float(near.max(far))
        else:
            t = 1 if source.name == "identity" else source.homogeneity
            if t is None or (t == 1 and source.name != "identity") or t not in range(1, 9):
                return None
            upper = upper_float(_power_cost(t))
    formula = (
        "sigma(z) = c + 1/2 int f'(u) erf((z - u)/theta) du "
        "- 1/4 int_0^(theta^2/2) int erf((z - u)/(2 s)^(1/2)) df''(u) ds, f = sigma on the reach"
    )
    return make_edge(source, target, order, "heat", upper, "Theorem Heat kernel", formula)


def heat_cost(moments: Moments, theta: Any) -> tuple[Any, Any]:
    """K_0 and K_1 of Theorem Heat kernel, but for the constant c."""
    mass, first, rough, rough_first = moments
    near = (mass + first / theta) / 2 + (rough * theta**2 / 2 + rough_first * theta) / 4
    return near, mass / (2 * theta) + rough * theta / 4


def _of_gaussian(source: Activation) -> Moments:
    # int |u| |f'| = int 2 u^2 exp(-u^2) du
    rough = [flint.arb(absolute_moment(source, 2, k).upper) * 2 for k in range(2)]
    mass = flint.arb(absolute_moment(source, 0, 0).upper)
    return mass, flint.arb.pi().sqrt(), rough[0], rough[1]


def _power_cost(t: int) -> Any:
    """What z (t = 1) or z_+^t costs on ``|z| <= 1``; by homogeneity times rho^t on any reach."""
    theta, eta = (flint.arb(x) for x in _POWERS.get(t, _POWERS[3]))
    mass, first = 1 + t * eta / 2, flint.arb(t) / (t + 1) + t * (eta / 2 + eta**2 / 6)
    rough = 2 * (t * (t - 1) + t / eta)
    rough_first = t * (t - 2) + t * (t - 1) + t / eta * (2 + eta)
    if t == 1:
        mass, first, rough, rough_first = 2 * mass, 1 + eta + eta**2 / 3, 4 / eta, 2 + 4 / eta
        middle = flint.arb(0)
    else:
        middle = mass / 2 * constant_in_erf()
    near, far = heat_cost((mass, first, rough, rough_first), theta)
    return middle + near + far
