"""The representation behind an upper bound, as a particle measure."""

from __future__ import annotations

import heapq
import itertools
import math

import numpy as np

from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_bracket import IntervalBracket
from jaxbarron.bounds.interval_edges import derivative_program
from jaxbarron.bounds.interval_evidence import ONE_PLACE, atom_share
from jaxbarron.bounds.interval_problem import Problem
from jaxbarron.measures import ParticleMeasure
from jaxbarron.programs import evaluate_program

__all__ = ["representation"]

_Columns = tuple[np.ndarray, np.ndarray, np.ndarray]  # weights, directions, offsets

_RULE = 4  # Gauss points in each cell: the moments of order 0, ..., 4 are kept to rounding


def representation(
    problem: Problem, body: GaugeBody, found: IntervalBracket, particles: int
) -> tuple[ParticleMeasure, float]:
    """RePU_s particles on [-1, 1] whose function is that of the problem up to a residual.

    The density is replaced by positive Gauss rules on cells without a sign change; atoms, and the
    particles of the polynomial, are kept as they are (Theorem Bounds at every iterate).

    Args:
        problem: the function.
        body: s and the weight.
        found: its bracket.
        particles: about how many particles to use.

    Returns:
        The measure, and what it is off by at most on [-1, 1], to rounding: the largest ``m h^s``
        over the cells, m the mass of ``|D|/s!`` in a cell of length h.
    """
    s = body.s
    edges = np.asarray(found.edges, np.float64)
    shares = np.clip(np.asarray(found.shares, np.float64), -0.5, 0.5)
    cells = [
        (a, b, float(v))
        for (a, b), v in zip(itertools.pairwise(edges), shares, strict=False)
        if b > a
    ]
    cells = _refined(cells, max(particles // (2 * _RULE), len(cells)))
    derivative = derivative_program(problem.sigma, s + 1)
    nodes, rule = np.polynomial.legendre.leggauss(_RULE)
    columns: list[_Columns] = []
    residual = 0.0
    for a, b, share in cells:
        t = (a + b) / 2 + (b - a) / 2 * nodes
        z = np.multiply.outer(t, problem.spreads) + problem.offsets
        d = evaluate_program(derivative, z) @ (problem.weights * problem.spreads ** (s + 1))
        mass = d * rule * (b - a) / 2 / math.factorial(s)
        columns.append(_both(s, t, mass, share))
        residual = max(residual, float(np.abs(mass).sum()) * (b - a) ** s)
    for place, jump in _jumps(problem, s):
        share = atom_share(place, edges, shares)
        columns.append(_both(s, np.array([place]), np.array([jump]), share))
    x, c = (np.asarray(v, np.float64) for v in (found.nodes, found.particles))
    heavy = np.abs(c) > 1e-15 * np.abs(c).max(initial=0)
    columns += _powers(s, x[heavy], c[heavy])
    weights, directions, offsets = (np.concatenate(v) for v in zip(*columns, strict=True))
    kept = weights != 0
    if not kept.any():
        kept[:1] = True
    measure = ParticleMeasure(weights[kept, None], directions[kept, None], offsets[kept])
    return measure, float(residual)


def _refined(
    cells: list[tuple[float, float, float]], count: int
) -> list[tuple[float, float, float]]:
    """The same cells, the longest halved until there are so many."""
    heap = [(a - b, a, b, v) for a, b, v in cells]
    heapq.heapify(heap)
    while len(heap) < count:
        _, a, b, v = heapq.heappop(heap)
        middle = (a + b) / 2
        heapq.heappush(heap, (a - middle, a, middle, v))
        heapq.heappush(heap, (middle - b, middle, b, v))
    return [(a, b, v) for _, a, b, v in heap]


def _both(s: int, t: np.ndarray, mass: np.ndarray, share: float) -> _Columns:
    """Right and left particles of the given masses of D/s!."""
    right = mass * (0.5 + share * np.sign(mass))
    left = (-1.0) ** (s + 1) * (mass - right)
    one = np.ones_like(t)
    return np.concatenate([right, left]), np.concatenate([one, -one]), np.concatenate([-t, t])


def _jumps(problem: Problem, s: int) -> list[tuple[float, float]]:
    """The atoms of D/s! in (-1, 1), those at one place summed."""
    sigma, atoms = problem.sigma, list[tuple[float, float]]()
    if sigma.homogeneity is not None:
        known = [(0.0, float(math.factorial(s)))] if sigma.homogeneity == s else []
    else:
        known = [(k.location, k.jumps[s]) for k in sigma.kinks if s < len(k.jumps)]
    for a, w, b in zip(*problem.network, strict=True):
        for place, jump in known if w else ():
            t = (place - b) / w
            if abs(t) < 1:
                atoms.append((float(t), float(a * abs(w) * w ** (s - 1) * jump)))
    merged = list[tuple[float, float]]()
    for t, jump in sorted(atoms):
        if merged and t - merged[-1][0] < ONE_PLACE:
            merged[-1] = (merged[-1][0], merged[-1][1] + jump)
        else:
            merged.append((t, jump))
    return [(t, jump / math.factorial(s)) for t, jump in merged]


def _powers(s: int, x: np.ndarray, c: np.ndarray) -> list[_Columns]:
    """(alpha y + beta)^s, alpha = 1 - |x|, beta = x, as one particle or two."""
    alpha, columns = 1 - np.abs(x), list[_Columns]()
    for sign in (1.0, -1.0):
        needed = (sign * x >= alpha) | (np.abs(x) < alpha)
        columns.append((np.where(needed, c * sign**s, 0), sign * alpha, sign * x))
    return columns
