"""Edges from kernels with the density D = sigma^(s+1): into RePU_s, and into smooth ramps."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import flint
import numpy as np
from scipy.optimize import linprog

from jaxbarron.activations import Activation
from jaxbarron.balls.series import local_series, working_precision
from jaxbarron.balls.suprema import upper_float
from jaxbarron.bounds.constants import absolute_moment, growth_constant, weighted_moment
from jaxbarron.bounds.edge import Edge, make_edge
from jaxbarron.bounds.lines import tail_line
from jaxbarron.bounds.polynomial_cost import polynomial_cost
from jaxbarron.kernels import hierarchy_constant

__all__ = ["growing_reach", "ramp", "taylor"]

_BITS = 192
_SHARES = 2520  # shares of kernels are multiples of 1/2520: halves, thirds, ... are exact
_PIECES = 64  # of [0, 1], on each of which a polynomial is bounded by its Bernstein coefficients


def taylor(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Taylor embedding: the best mean of at most three kernels."""
    s = target.homogeneity
    if s is None or source.homogeneity is not None or order < s:
        return None
    moments = [absolute_moment(source, s, s - k).upper for k in range(s + 1)]
    if not all(map(math.isfinite, moments)):
        return None
    found = _mean_of_kernels(source, s, moments)
    if found is None:
        return None
    best, count = found
    formula = f"sigma(z) = P(z) + 1/{s}! int D(t) (z - t)_+^{s} dt, D = sigma^({s + 1})"
    if count > 1:
        formula = f"a mean of kernels {formula}"
    return make_edge(source, target, order, "taylor", best, "Theorem Taylor embedding", formula)


def _mean_of_kernels(
    source: Activation, s: int, moments: Sequence[float]
) -> tuple[float, int] | None:
    """The bound of Theorem Taylor embedding, and of how many kernels it takes the mean."""
    parts = _polynomial_parts(source, s)
    if not parts:
        return None
    shares = _best_shares(moments, parts, s)
    with working_precision(_BITS):
        mean = [
            sum((share * part[k] for share, part in zip(shares, parts, strict=True)), flint.arb(0))
            for k in range(s + 1)
        ]
        rows = [flint.arb(m) + p for m, p in zip(moments, _prices(mean, s), strict=True)]
        best = _largest_of_bernstein(rows)
    return best, sum(share != 0 for share in shares)


def _best_shares(moments: Sequence[float], parts: Sequence[Sequence[Any]], s: int) -> list[Any]:
    """Shares >= 0, exact and of sum 1, of the kernels that differ in their polynomial.

    They nearly minimise the maximum of Theorem Taylor embedding: a small linear program, in floats.
    """
    x = np.linspace(0, 1, 4 * s + 5)
    binomials = [math.comb(s, k) * x**k * (1 - x) ** (s - k) for k in range(s + 1)]
    basis = np.stack(binomials, axis=1)
    prices = [float(polynomial_cost(k, s)) / math.comb(s, k) for k in range(s + 1)]
    values = np.array([[float(c.mid()) for c in part[: s + 1]] for part in parts])
    count, rows = len(parts), len(x)
    # minimise top over the shares, u_k >= |sum of shares times a_k|, and top
    above = np.hstack([np.zeros((rows, count)), basis * prices, -np.ones((rows, 1))])
    modulus = [
        np.hstack([sign * values.T, -np.eye(s + 1), np.zeros((s + 1, 1))]) for sign in (1, -1)
    ]
    found = linprog(
        np.append(np.zeros(count + s + 1), 1.0),
        A_ub=np.vstack([above, *modulus]),
        b_ub=np.concatenate([-basis @ np.array(moments), np.zeros(2 * (s + 1))]),
        A_eq=np.append(np.ones(count), np.zeros(s + 2))[None],
        b_eq=[1.0],
        method="highs",
    )
    raw = found.x[:count] if found.status == 0 else np.eye(count)[0]
    steps = [max(round(float(share) * _SHARES), 0) for share in raw]
    largest = int(np.argmax(raw))
    steps[largest] += _SHARES - sum(steps)
    return [flint.fmpq(step, _SHARES) for step in steps]


def growing_reach(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Growing reach: D is merely bounded, and the weight has one more power of reach."""
    s = target.homogeneity
    if s is None or source.homogeneity is not None or order < s + 1:
        return None
    at_zero = _taylor_polynomial(source, s)
    grown = growth_constant(source, s).upper
    if at_zero is None or not math.isfinite(grown):
        return None
    with working_precision(_BITS):
        upper = upper_float(grown + flint.arb(_largest_of_bernstein(_prices(at_zero, s))))
    formula = f"sigma(z) = P(z) + 1/{s}! int over |t| <= rho of D(t) (z - t)_+^{s} dt"
    return make_edge(
        source, target, order, "taylor on a reach", upper, "Theorem Growing reach", formula
    )


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
    lines = tail_line(source, -1), tail_line(source, 1)
    if even and (lines[0] is None or lines[1] is None):
        return None
    if even:
        assert lines[0] is not None
        assert lines[1] is not None
        with working_precision(_BITS):
            mean = [(a + b) / 2 for a, b in zip(*lines, strict=True)]
            rows = [flint.arb(m) / 2 + p for m, p in zip(moments, _prices(mean, 1), strict=True)]
            upper = _largest_of_bernstein(rows)
    else:
        found = _mean_of_kernels(source, 1, moments)
        if found is None:
            return None
        upper = found[0]
    formula = "sigma(z) = P(z) + lim int D(t) tau(lambda (z - t))/lambda dt, D = sigma''"
    return make_edge(source, target, order, "ramp", upper, theorem, formula)


def _polynomial_parts(source: Activation, s: int) -> list[list[Any]]:
    """Coefficients of the polynomials to which a density kernel of all of D may be added."""
    parts: list[list[Any]] = []
    at_zero = _taylor_polynomial(source, s)
    if at_zero is not None:
        parts.append(at_zero)
    for side in (-1, 1):
        line = tail_line(source, side)
        if line is not None and (s > 0 or line[1].is_zero()):
            parts.append([*line, *[flint.arb(0)] * s][: s + 1])
    return parts


@functools.lru_cache(maxsize=512)
def _taylor_polynomial(source: Activation, s: int) -> list[Any] | None:
    """``sigma^(k)(0) / k!``, k <= s; None at a kink and where they are not known."""
    if any(kink.location == 0 for kink in source.kinks):
        return None
    with working_precision(_BITS, s + 8):
        zero = flint.arb(0)
        found = local_series(source.program, flint.arb_series([zero, 1], prec=max(s + 1, 2)), zero)
        if not found.smooth or not all(c.is_finite() for c in found.coefficients[: s + 1]):
            return None
        return found.coefficients[: s + 1]


def _prices(polynomial: Sequence[Any], s: int) -> list[Any]:
    """Bernstein coefficients, in rho/(1 + rho), of a polynomial's cost over (1 + rho)^s."""
    prices: list[Any] = []
    for k in range(s + 1):
        cost = polynomial_cost(k, s) / math.comb(s, k)
        prices.append(abs(polynomial[k]) * flint.fmpq(cost.numerator, cost.denominator))
    return prices


def _largest_of_bernstein(coefficients: Sequence[Any]) -> float:
    """At least the maximum on [0, 1] of a polynomial with these Bernstein coefficients.

    On each of some equal pieces the polynomial stays below the largest coefficient of its own
    Bernstein form there, which the algorithm of de Casteljau gives (Theorem Taylor embedding).
    """
    largest = -math.inf
    rest = [flint.arb(c) for c in coefficients]
    for piece in range(_PIECES):
        first, rest = _cut(rest, flint.fmpq(1, _PIECES - piece))
        largest = max(largest, *(upper_float(c) for c in first))
    return largest


def _cut(coefficients: list[Any], at: Any) -> tuple[list[Any], list[Any]]:
    """The Bernstein coefficients on [0, at] and on [at, 1]."""
    left, right, row = [coefficients[0]], [coefficients[-1]], coefficients
    while len(row) > 1:
        row = [(1 - at) * a + at * b for a, b in itertools.pairwise(row)]
        left.append(row[0])
        right.append(row[-1])
    return left, right[::-1]
