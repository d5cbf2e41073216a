"""Edges from kernels with the density D = sigma^(s+1), into RePU_s."""

from __future__ import annotations

import functools
import math
from typing import Any

import flint

from jaxbarron.activations import Activation
from jaxbarron.balls.series import local_series, working_precision
from jaxbarron.balls.suprema import upper_float
from jaxbarron.bounds.constants import absolute_moment
from jaxbarron.bounds.edge import Edge, make_edge
from jaxbarron.bounds.growing_cost import growth_constant
from jaxbarron.bounds.lines import tail_line
from jaxbarron.bounds.mean_kernels import largest_of_bernstein, mean_of_kernels, prices

__all__ = ["growing_reach", "polynomial_parts", "taylor", "taylor_polynomial"]

_BITS = 192


def taylor(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Taylor embedding: the best mean of at most three kernels."""
    s = target.homogeneity
    if s is None or source.homogeneity is not None or order < s:
        return None
    moments = [absolute_moment(source, s, s - k).upper for k in range(s + 1)]
    if not all(map(math.isfinite, moments)):
        return None
    found = mean_of_kernels(moments, polynomial_parts(source, s), s)
    if found is None:
        return None
    best, count = found
    formula = f"sigma(z) = P(z) + 1/{s}! int D(t) (z - t)_+^{s} dt, D = sigma^({s + 1})"
    if count > 1:
        formula = f"a mean of kernels {formula}"
    return make_edge(source, target, order, "taylor", best, "Theorem Taylor embedding", formula)


def growing_reach(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Growing reach: D is merely bounded, and the weight has one more power of reach."""
    s = target.homogeneity
    if s is None or source.homogeneity is not None or order < s + 1:
        return None
    at_zero = taylor_polynomial(source, s)
    grown = growth_constant(source, s).upper
    if at_zero is None or not math.isfinite(grown):
        return None
    with working_precision(_BITS):
        upper = upper_float(grown + flint.arb(largest_of_bernstein(prices(at_zero, s))))
    formula = f"sigma(z) = P(z) + 1/{s}! int over |t| <= rho of D(t) (z - t)_+^{s} dt"
    return make_edge(
        source, target, order, "taylor on a reach", upper, "Theorem Growing reach", formula
    )


def polynomial_parts(source: Activation, s: int) -> list[list[Any]]:
    """Coefficients of the polynomials to which a density kernel of all of D may be added."""
    parts: list[list[Any]] = []
    at_zero = taylor_polynomial(source, s)
    if at_zero is not None:
        parts.append(at_zero)
    for side in (-1, 1):
        line = tail_line(source, side)
        if line is not None and (s > 0 or line[1].is_zero()):
            parts.append([*line, *[flint.arb(0)] * s][: s + 1])
    return parts


@functools.lru_cache(maxsize=512)
def taylor_polynomial(source: Activation, s: int) -> list[Any] | None:
    """``sigma^(k)(0) / k!``, k <= s; None at a kink and where they are not known."""
    if any(kink.location == 0 for kink in source.kinks):
        return None
    with working_precision(_BITS, s + 8):
        zero = flint.arb(0)
        found = local_series(source.program, flint.arb_series([zero, 1], prec=max(s + 1, 2)), zero)
        if not found.smooth or not all(c.is_finite() for c in found.coefficients[: s + 1]):
            return None
        return found.coefficients[: s + 1]
