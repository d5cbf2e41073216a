"""A sharper bound into RePU_s: another kernel for each cell of reaches.

A particle of reach rho needs the density on ``|t| <= rho`` only, and any of the Taylor polynomials
at -rho, 0 and rho, or a mean of them (THEORY.md, Theorem Reach cells).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import flint

from jaxbarron.activations import Activation
from jaxbarron.balls.outward import sum_up
from jaxbarron.balls.series import local_series, working_precision
from jaxbarron.bounds.constants import absolute_moment, moment_between
from jaxbarron.bounds.density_edges import polynomial_parts, taylor_polynomial
from jaxbarron.bounds.edge import Edge, make_edge
from jaxbarron.bounds.lower_bounds import lower_bound
from jaxbarron.bounds.mean_kernels import mean_of_kernels

__all__ = ["reach_cells"]

_BITS = 192
_GRIDS = (2, 8, 48)  # numbers of equal cells of x = rho / (1 + rho)
_GAP = 1e-6  # relative to a lower bound: no finer grid is tried below it


def reach_cells(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Reach cells."""
    s = target.homogeneity
    if s is None or source.homogeneity is not None or order != s:
        return None
    known = lower_bound(source, target, order)
    goal = 0.0 if known is None else known.value * (1 + _GAP)
    upper = _largest(source, s, goal)
    formula = (
        f"sigma(z) = P(z) + 1/{s}! int over |t| <= rho of D(t) (z - t)_+^{s} dt, P by cells of rho"
    )
    return make_edge(source, target, order, "reach cells", upper, "Theorem Reach cells", formula)


@functools.lru_cache(maxsize=256)
def _largest(source: Activation, s: int, goal: float) -> float:
    """The least of what a few grids of cells give; coarse ones first, until the goal is met."""
    best = math.inf
    for cells in _GRIDS:
        moments = [0.0] * (s + 1)
        largest, reach = 0.0, 0.0
        for i in range(cells):
            span = flint.fmpq(i, cells), flint.fmpq(i + 1, cells)
            if i + 1 < cells:
                before, reach = reach, _reach(source, span[1])
                moments = _grown(source, s, moments, before, reach)
                parts = _polynomials(source, s, reach)
            else:
                moments = [absolute_moment(source, s, s - k).upper for k in range(s + 1)]
                parts = polynomial_parts(source, s)
            found = (
                mean_of_kernels(moments, parts, s, span) if math.isfinite(sum(moments)) else None
            )
            largest = max(largest, math.inf if found is None else found[0])
            if largest >= best:
                break
        best = min(best, largest)
        if best <= goal:
            break
    return best


def _grown(
    source: Activation, s: int, moments: Sequence[float], before: float, reach: float
) -> list[float]:
    """The moments over ``|t| <= reach`` from those over ``|t| <= before``, rounded up."""
    pieces = [(-reach, -before), (before, reach)] if before else [(-reach, reach)]
    grown: list[float] = []
    for k, moment in enumerate(moments):
        more = (moment_between(source, s, s - k, a, b).upper for a, b in pieces)
        grown.append(functools.reduce(sum_up, more, moment))
    return grown


def _polynomials(source: Activation, s: int, reach: float) -> list[list[Any]]:
    """The Taylor polynomials at 0 and at both ends of the reach."""
    found = [taylor_polynomial(source, s)]
    found += [_at_an_end(source, s, side * reach) for side in (-1, 1)]
    return [p for p in found if p is not None]


def _reach(source: Activation, x: Any) -> float:
    """A float that is at least rho of the cell's end, beside the kinks of sigma."""
    exact = x / (1 - x)
    reach = math.nextafter(float(exact.p) / float(exact.q), math.inf)
    while any(abs(kink.location) == reach for kink in source.kinks):
        reach *= 1 + 2.0**-20
    return reach


def _at_an_end(source: Activation, s: int, place: float) -> list[Any] | None:
    """The Taylor polynomial of degree s at a place, in powers of z."""
    with working_precision(_BITS, s + 8):
        ball = flint.arb(place)
        found = local_series(source.program, flint.arb_series([ball, 1], prec=max(s + 1, 2)), ball)
        terms = found.coefficients[: s + 1]
        if not found.smooth or not all(c.is_finite() for c in terms):
            return None
        return [
            sum(
                (math.comb(j, k) * terms[j] * (-ball) ** (j - k) for j in range(k, s + 1)),
                flint.arb(0),
            )
            for k in range(s + 1)
        ]
