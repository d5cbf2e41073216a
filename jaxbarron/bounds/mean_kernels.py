"""Means of kernels that share a density and differ in their polynomial: the best one, and its cost.

With x = rho / (1 + rho) the cost of such a kernel over ``(1 + rho)^s`` is a polynomial of degree s
in Bernstein form (THEORY.md, Theorem Taylor embedding).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import flint
import numpy as np
from scipy.optimize import linprog

from jaxbarron.balls.series import working_precision
from jaxbarron.balls.suprema import upper_float
from jaxbarron.bounds.polynomial_cost import polynomial_cost

__all__ = ["largest_of_bernstein", "mean_of_kernels", "prices"]

_BITS = 192
_SHARES = 2520  # shares of kernels are multiples of 1/2520: halves, thirds, ... are exact
_PIECES = 64  # of the span, on each of which a polynomial stays below its Bernstein coefficients

Span = tuple[Any, Any]  # of x, two exact rationals
_WHOLE: Span = (flint.fmpq(0), flint.fmpq(1))


def mean_of_kernels(
    moments: Sequence[float], parts: Sequence[Sequence[Any]], s: int, span: Span = _WHOLE
) -> tuple[float, int] | None:
    """The largest cost over the span of x, for the best mean; and of how many kernels that is.

    Args:
        moments: upper bounds of ``1/s! int |t|^(s-k) |D|``, k = 0, ..., s.
        parts: the polynomials' coefficients, one sequence of s + 1 balls for each kernel.
        s: the power of RePU_s.
        span: the x of the particles that are to be served.

    Returns:
        None if there is no kernel.
    """
    if not parts:
        return None
    shares = _best_shares(moments, parts, s, span)
    with working_precision(_BITS):
        mean = [
            sum((share * part[k] for share, part in zip(shares, parts, strict=True)), flint.arb(0))
            for k in range(s + 1)
        ]
        rows = [flint.arb(m) + p for m, p in zip(moments, prices(mean, s), strict=True)]
        best = largest_of_bernstein(rows, span)
    return best, sum(share != 0 for share in shares)


def _best_shares(
    moments: Sequence[float], parts: Sequence[Sequence[Any]], s: int, span: Span
) -> list[Any]:
    """Shares >= 0, exact and of sum 1, of the kernels that differ in their polynomial.

    They nearly minimise the maximum of Theorem Taylor embedding: a small linear program, in floats.
    """
    x = np.linspace(
        float(span[0].p) / float(span[0].q), float(span[1].p) / float(span[1].q), 4 * s + 5
    )
    binomials = [math.comb(s, k) * x**k * (1 - x) ** (s - k) for k in range(s + 1)]
    basis = np.stack(binomials, axis=1)
    costs = [float(polynomial_cost(k, s)) / math.comb(s, k) for k in range(s + 1)]
    values = np.array([[float(c.mid()) for c in part[: s + 1]] for part in parts])
    count, rows = len(parts), len(x)
    # minimise top over the shares, u_k >= |sum of shares times a_k|, and top
    above = np.hstack([np.zeros((rows, count)), basis * costs, -np.ones((rows, 1))])
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


def prices(polynomial: Sequence[Any], s: int) -> list[Any]:
    """Bernstein coefficients, in rho/(1 + rho), of a polynomial's cost over (1 + rho)^s."""
    prices: list[Any] = []
    for k in range(s + 1):
        cost = polynomial_cost(k, s) / math.comb(s, k)
        prices.append(abs(polynomial[k]) * flint.fmpq(cost.numerator, cost.denominator))
    return prices


def largest_of_bernstein(coefficients: Sequence[Any], span: Span = _WHOLE) -> float:
    """At least the maximum on the span of a polynomial with these Bernstein coefficients on [0, 1].

    On each of some equal pieces the polynomial stays below the largest coefficient of its own
    Bernstein form there, which the algorithm of de Casteljau gives (Theorem Taylor embedding).
    """
    largest = -math.inf
    rest = [flint.arb(c) for c in coefficients]
    start, end = span
    if end < 1:
        rest = _cut(rest, end)[0]
    if start > 0:
        rest = _cut(rest, start / end)[1]
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
