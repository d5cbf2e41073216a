"""Edges into softplus, swish, GELU and log cosh, at the price of ReLU and of ``|z|``."""

from __future__ import annotations

import math

import flint

from jaxbarron.activations import Activation, repu
from jaxbarron.balls.series import working_precision
from jaxbarron.bounds.constants import absolute_moment, weighted_moment
from jaxbarron.bounds.density_edges import taylor
from jaxbarron.bounds.edge import Edge, make_edge
from jaxbarron.bounds.lines import tail_line
from jaxbarron.bounds.mean_kernels import largest_of_bernstein, prices
from jaxbarron.bounds.reach_cells import reach_cells
from jaxbarron.bounds.sharp_edges import proved_one_reach
from jaxbarron.kernels import hierarchy_constant

__all__ = ["ramp"]

_BITS = 192


def ramp(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Ramps: into softplus, swish, GELU and log cosh at the price of ReLU or ``|z|``."""
    even = target.name == "log_cosh"
    named = target.family in ("softplus", "swish") or target.name == "gelu"
    if order != 1 or source == target or not (named or even):
        return None
    theorem, power = "Theorem Ramps", source.homogeneity
    shape = "|z|/2" if even else "relu"
    if power is not None:
        if power < 2:
            return None
        cost = float(hierarchy_constant(power, 1))
        formula = (
            f"z_+^{power} as in {shape}, whose particles are tau(lambda z)/lambda + O(1/lambda)"
        )
        upper = cost / 2 + (3 * power - 1) / 2 if even else cost
        return make_edge(source, target, order, "ramp", upper, theorem, formula)
    moments = [absolute_moment(source, 1, 1 - k).upper for k in range(2)]
    variation = weighted_moment(source, {3: 1.0}, 1).upper  # of D: a jump of sigma' makes it inf
    if not all(map(math.isfinite, [*moments, variation])):
        return None
    if even:
        left, right = tail_line(source, -1), tail_line(source, 1)
        if left is None or right is None:
            return None
        with working_precision(_BITS):
            middle = [(a + b) / 2 for a, b in zip(left, right, strict=True)]
            rows = [flint.arb(m) / 2 + p for m, p in zip(moments, prices(middle, 1), strict=True)]
            upper = largest_of_bernstein(rows)
    else:
        prices_of_relu = [
            rule(source, repu(1), 1) for rule in (taylor, reach_cells, proved_one_reach)
        ]
        upper = min((e.upper for e in prices_of_relu if e is not None), default=math.inf)
    formula = "sigma(z) = P(z) + lim int D(t) tau(lambda (z - t))/lambda dt, D = sigma''"
    return make_edge(source, target, order, "ramp", upper, theorem, formula)
