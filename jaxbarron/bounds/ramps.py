"""Edges into activations with two different slopes, at the price of ReLU; into log cosh, of |z|."""

from __future__ import annotations

import functools
import math

import flint

from jaxbarron.activations import Activation, repu
from jaxbarron.balls.series import working_precision
from jaxbarron.balls.suprema import lower_float, upper_float
from jaxbarron.bounds.constants import absolute_moment, weighted_moment
from jaxbarron.bounds.density_edges import taylor
from jaxbarron.bounds.edge import Edge, make_edge
from jaxbarron.bounds.lines import tail_line
from jaxbarron.bounds.mean_kernels import largest_of_bernstein, prices
from jaxbarron.bounds.reach_cells import reach_cells
from jaxbarron.bounds.sharp_edges import proved_one_reach
from jaxbarron.kernels import hierarchy_constant

__all__ = ["cancelling_kinks", "ramp", "rise_of"]

_BITS = 192
_THEOREM = "Theorem Ramps"


def ramp(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Ramps: sigma'' a function, tau with two slopes, of which the left one is 0."""
    if order != 1 or source == target:
        return None
    if target.name == "log_cosh":
        return _into_log_cosh(source, target, order)
    rise = rise_of(target)
    if rise == 0:
        return None
    found = _price_of_relu(source)
    if found is None:
        return None
    price, formula = found
    with working_precision(_BITS):
        upper = upper_float(flint.arb(price) / flint.arb(rise))
    return make_edge(source, target, order, "ramp", upper, _THEOREM, formula)


@functools.lru_cache(maxsize=256)
def rise_of(target: Activation) -> float:
    """A lower bound of ``|S|``, S the slope at +infinity of what the theorem serves; else 0."""
    if target.homogeneity is not None:
        return 0.0
    left, right = tail_line(target, -1), tail_line(target, 1)
    if left is None or right is None or not left[1].is_zero():
        return 0.0
    moments = [absolute_moment(target, 1, k).upper for k in range(2)]
    return lower_float(right[1]) if all(map(math.isfinite, moments)) else 0.0


@functools.lru_cache(maxsize=256)
def _price_of_relu(source: Activation) -> tuple[float, str] | None:
    """What ReLU would cost, and the kernel in the place of ReLU's; None where sigma'' is none."""
    power = source.homogeneity
    if power is not None:
        if power < 2:
            return None
        formula = f"z_+^{power} as in relu, whose particles are tau(lambda z)/(lambda S) + ..."
        return float(hierarchy_constant(power, 1)), formula
    if not _is_of_bounded_variation(source):
        return None
    costs = [rule(source, repu(1), 1) for rule in (taylor, reach_cells, proved_one_reach)]
    price = min((e.upper for e in costs if e is not None), default=math.inf)
    if not math.isfinite(price):
        return None
    return price, "sigma(z) = P(z) + lim int D(t) tau(lambda (z - t))/(lambda S) dt, D = sigma''"


def _is_of_bounded_variation(source: Activation) -> bool:
    """Whether sigma'' and its variation have finite weighted integrals: sigma' does not jump."""
    moments = [absolute_moment(source, 1, k).upper for k in range(2)]
    return all(map(math.isfinite, [*moments, weighted_moment(source, {3: 1.0}, 1).upper]))


def _into_log_cosh(source: Activation, target: Activation, order: int) -> Edge | None:
    power = source.homogeneity
    if power is not None:
        if power < 2:
            return None
        upper = float(hierarchy_constant(power, 1)) / 2 + (3 * power - 1) / 2
        formula = f"z_+^{power} as in |z|/2, whose particles are tau(lambda z)/lambda + ..."
        return make_edge(source, target, order, "ramp", upper, _THEOREM, formula)
    left, right = tail_line(source, -1), tail_line(source, 1)
    if left is None or right is None or not _is_of_bounded_variation(source):
        return None
    moments = [absolute_moment(source, 1, 1 - k).upper for k in range(2)]
    with working_precision(_BITS):
        middle = [(a + b) / 2 for a, b in zip(left, right, strict=True)]
        rows = [flint.arb(m) / 2 + p for m, p in zip(moments, prices(middle, 1), strict=True)]
        upper = largest_of_bernstein(rows)
    formula = "sigma(z) = P(z) + lim int D(t)/2 tau(lambda (z - t))/lambda dt, D = sigma''"
    return make_edge(source, target, order, "ramp", upper, _THEOREM, formula)


def cancelling_kinks(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Cancelling kinks: ReLU from three hard-swish units whose other kinks cancel."""
    if (source.name, target.name, order) != ("relu", "hard_swish", 1):
        return None
    formula = (
        "relu = -tau_(0,h) - tau_(-h,0) + tau_(-h,h) + r, tau_(p,q) hard_swish with its kinks at "
        "p and q, r'' = 1/h on (-h, h), h -> 0"
    )
    theorem = "Theorem Cancelling kinks"
    return make_edge(source, target, order, "cancelling kinks", 5.0, theorem, formula)
