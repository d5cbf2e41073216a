"""A function on [-1, 1] as a table of polynomials: one compiled search serves every function.

On each cell every derivative of order up to s is a polynomial that matches it and its next
derivatives, two at most and up to the order s + 1, at both ends; cells are halved until it agrees
at the middle nearly to rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.bounds.interval_edges import network_edges
from jaxbarron.bounds.interval_problem import Problem
from jaxbarron.bounds.interval_profile import Jets
from jaxbarron.errors import NonFiniteError

__all__ = ["AGREES", "Table", "table_jets", "tabulated"]

AGREES = 1e-12  # of the size of a derivative
_NOISE = 2.0**-46  # of the terms of a sum: about their rounding
_ROUNDS = 20
_LARGEST = 4096  # cells; every table has so many, so that one size is compiled

_GAUSS = np.polynomial.legendre.leggauss(8)  # where cells are so short that f^(s) is a cubic
_BESIDE = 4  # units of rounding of the argument by which a limit keeps away from a kink


def _hermite(count: int) -> np.ndarray:
    """From ``count`` derivatives at 0 and as many at 1 to the coefficients of the polynomial."""
    degree = 2 * count
    rows = [
        [math.perm(j, d) * (1.0 if x or j == d else 0.0) for j in range(degree)]
        for x in (0, 1)
        for d in range(count)
    ]
    return np.pad(np.linalg.inv(np.array(rows)), ((0, 6 - degree), (0, 0)))


_HERMITE = {count: _hermite(count) for count in (2, 3)}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Table:
    """The polynomials of f, f', ..., f^(s) on the cells between nodes, and edges for the search.

    Attributes:
        nodes: shape (c + 1,), ascending from -1 to 1, padded with 1.
        quintics: shape (c, s + 1, 6), in x = (t - node)/width, constant first.
        edges: sign changes of f^(s+1), kinks and some more points: see ``network_edges``.
        smooth: ``1/s! int (1 + t^2)^(s/2) |f^(s+1)| dt`` by Gauss points on the cells, where s is
            odd: part of the density part of the weight l2; None for even s, where it is not needed.
        off: the largest disagreement at the middle of a cell, of the derivatives of all neurons.
    """

    nodes: Any  # NumPy doubles, or traced
    quintics: Any
    edges: Any
    smooth: Any
    off: Any


def tabulated(problem: Problem, s: int) -> Table:
    """The table of a problem, in NumPy doubles.

    Raises:
        NonFiniteError: f or a derivative of order up to s + 1 is not finite at a node.
    """
    edges = network_edges(problem.sigma, s, *problem.network)
    nodes = np.unique(np.concatenate([edges, np.linspace(-1, 1, 33)]))
    left, right = _jets(problem, s, nodes, 1), _jets(problem, s, nodes, -1)
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise NonFiniteError(
            f"given: {problem.sigma.name}, which has values or derivatives of order up to {s + 1} "
            "that are not finite on the interval; expected: a function that double precision can "
            "hold there; do: choose a smaller spread"
        )
    # cancellation leaves the roundings of the terms, which no finer cell takes away
    terms = np.maximum([problem.terms(k, nodes) for k in range(s + 1)], 1e-300)
    rest = np.zeros((1, s + 1))
    for _ in range(_ROUNDS):
        quintics = _quintics(nodes, left, right, s)
        middle = (nodes[1:] + nodes[:-1]) / 2
        exact = _jets(problem, s, middle, 0)
        found = quintics @ (0.5 ** np.arange(6))
        rest = np.abs(found - exact[:, : s + 1])
        size = np.abs(exact).max(axis=0)[: s + 1]
        off = np.any(~(rest <= AGREES * size + _NOISE * terms), axis=1) & (np.diff(nodes) > 1e-9)
        if not off.any() or nodes.size + off.sum() > _LARGEST + 1:
            break
        at = np.flatnonzero(off) + 1
        nodes = np.insert(nodes, at, middle[off])
        left = np.insert(left, at, exact[off], axis=0)
        right = np.insert(right, at, exact[off], axis=0)
    smooth = _weighted_mass(problem, s, nodes) if s % 2 else None
    more = _LARGEST - (nodes.size - 1)
    last = np.zeros((more, s + 1, 6))
    last[:, :, 0] = right[-1, : s + 1]
    return Table(
        np.concatenate([nodes, np.ones(more)]),
        np.concatenate([_quintics(nodes, left, right, s), last]),
        edges,
        smooth,
        np.nan_to_num(rest / terms, nan=np.inf).max(),
    )


def table_jets(table: Table) -> Jets:
    """The jets of a table: f, ..., f^(s+1) at points, from a side where there is a kink."""

    def jets(points: Any, side: int) -> Any:
        before = jnp.searchsorted(table.nodes[1:], points, side="right" if side > 0 else "left")
        index = jnp.minimum(before, table.quintics.shape[0] - 1)
        start = table.nodes[index]
        width = table.nodes[index + 1] - start
        width = jnp.where(width > 0, width, 1)
        x = ((points - start) / width)[..., None]
        quintic = table.quintics[index]
        value, slope = quintic[..., 5], jnp.zeros_like(quintic[..., 5])
        for k in reversed(range(5)):
            slope = slope * x + value
            value = value * x + quintic[..., k]
        return jnp.concatenate([value, slope[..., -1:] / width[..., None]], axis=-1)

    return jets


def _weighted_mass(problem: Problem, s: int, nodes: np.ndarray) -> float:
    """``1/s! int (1 + t^2)^(s/2) |f^(s+1)| dt``, the nodes holding all sign changes and kinks."""
    half, middle = np.diff(nodes)[:, None] / 2, (nodes[1:] + nodes[:-1])[:, None] / 2
    t = middle + half * _GAUSS[0]
    density = np.abs(problem.derivative(s + 1, t)) * (1 + t * t) ** (s / 2)
    return float(np.sum(density * half * _GAUSS[1])) / math.factorial(s)


def _quintics(nodes: np.ndarray, left: np.ndarray, right: np.ndarray, s: int) -> np.ndarray:
    h = np.diff(nodes)[:, None] ** np.arange(3)
    columns: list[np.ndarray] = []
    for k in range(s + 1):
        n = min(3, s + 2 - k)
        ends = left[:-1, k : k + n] * h[:, :n], right[1:, k : k + n] * h[:, :n]
        columns.append(np.concatenate(ends, axis=1) @ _HERMITE[n].T)
    return np.stack(columns, axis=1)


def _jets(problem: Problem, s: int, points: np.ndarray, side: int) -> np.ndarray:
    """f, ..., f^(s+1) at points; beside them, where there may be kinks."""
    beside = side * _BESIDE * np.finfo(np.float64).eps if problem.kinks else 0.0
    return np.stack([problem.derivative(k, points, beside) for k in range(s + 2)], axis=-1)
