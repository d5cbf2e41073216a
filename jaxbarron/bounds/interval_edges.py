"""Where the (s+1)-th derivative of a shallow network of one variable changes its sign."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxbarron.activations import Activation
from jaxbarron.bounds.regularity import jump_orders
from jaxbarron.programs import Program, evaluate_program

__all__ = [
    "activation_breaks",
    "derivative_program",
    "moved_edges",
    "network_edges",
    "resolving_points",
    "rough_kink",
]

_SCAN = 4001
_BASE_EDGES = 9  # with 0; the search adds those that it needs
_SHAPE = np.sinh(np.linspace(-6, 6, 241))  # points z where activations of unit scale are resolved
_BISECTIONS = 60
_NOISE = 1e-13  # of the largest |D|: below, a change of sign is rounding
_PAD = 64


@functools.lru_cache(maxsize=512)
def derivative_program(sigma: Activation, order: int) -> Program:
    """The program of sigma^(order); it is traced once."""
    return sigma.derivative(order).program


def rough_kink(sigma: Activation, s: int, lower: float, upper: float) -> tuple[float, int] | None:
    """A kink in (lower, upper) where a derivative of order below s jumps, and that order."""
    inside = (k for k in jump_orders(sigma) if k[1] < s and lower < k[0] < upper)
    return next(inside, None)


def network_edges(
    sigma: Activation, s: int, weights: Any, spreads: Any, offsets: Any
) -> np.ndarray:
    """Edges of cells of ``sum_i a_i sigma(w_i y + b_i)`` on [-1, 1]; a scan, no proof.

    Sign changes of the (s+1)-th derivative found on a grid that resolves each neuron, the kinks,
    and some more points; padded with 1 to a multiple of 64, so that few shapes are compiled.
    """
    used = spreads != 0
    a, w, b = weights[used], spreads[used], offsets[used]
    parts = [np.linspace(-1, 1, _SCAN), ((_SHAPE - b[:, None]) / w[:, None]).reshape(-1)]
    grid = np.concatenate(parts)
    grid = np.unique(grid[np.abs(grid) <= 1])
    places = np.array([k for k, _ in jump_orders(sigma)] + [0.0] * (sigma.homogeneity is not None))
    kinks = ((places[:, None] - b) / w).reshape(-1)
    kinks = kinks[np.abs(kinks) < 1]
    grid = np.union1d(grid, kinks)
    program = derivative_program(sigma, s + 1)

    def density(y: np.ndarray) -> np.ndarray:
        total = np.zeros_like(y)
        for factor, spread, offset in zip(a * w ** (s + 1), w, b, strict=True):
            total += factor * evaluate_program(program, spread * y + offset)
        return total

    changes = _sign_changes(density, grid)
    own = np.concatenate(
        [(resolving_points() - o) / v for v, o in zip(w[:8], b[:8], strict=True)] or [np.zeros(0)]
    )
    edges = np.concatenate([np.linspace(-1, 1, 17), kinks, changes, own[np.abs(own) < 1]])
    padding = np.ones(-len(edges) % _PAD)
    return np.sort(np.concatenate([edges, padding]))


@functools.lru_cache(maxsize=512)
def activation_breaks(sigma: Activation, s: int, reach: float = 1e3) -> np.ndarray:
    """The z in [-reach, reach] where sigma^(s+1) changes its sign, and its kinks."""
    grid = np.unique(
        np.clip(np.concatenate([_dense(), np.linspace(-reach, reach, _SCAN)]), -reach, reach)
    )
    places = np.array([k for k, _ in jump_orders(sigma)])
    grid = np.union1d(grid, places)
    program = derivative_program(sigma, s + 1)
    changes = _sign_changes(lambda z: evaluate_program(program, z), grid)
    return np.sort(np.concatenate([places, changes]))


def resolving_points() -> np.ndarray:
    """z between which quadrature resolves activations of unit scale."""
    return _SHAPE[40:201:8]


def moved_edges(breaks: Any, w: Any, b: Any) -> Any:
    """Sorted edges of ``sigma(w y + b)`` on [-1, 1] for breaks of sigma, w and b traced."""
    inside = (breaks - b) / jnp.where(w > 0, w, 1)
    inside = jnp.where(w > 0, jnp.clip(inside, -1, 1), 1)
    base = jnp.linspace(-1, 1, _BASE_EDGES, dtype=inside.dtype)
    return jnp.sort(jnp.concatenate([inside, base]))


def _dense() -> np.ndarray:
    return np.sinh(np.linspace(-7, 7, _SCAN))


def _sign_changes(density: Any, grid: np.ndarray) -> np.ndarray:
    """Sign changes between neighbours of a grid, by bisection."""
    values = np.nan_to_num(density(grid))
    size = np.abs(values)
    sign = np.sign(np.where(size > _NOISE * size.max(initial=0), values, 0))
    known = np.flatnonzero(sign)
    at = np.flatnonzero(sign[known[1:]] != sign[known[:-1]])
    low, high = grid[known[at]], grid[known[at + 1]]
    left = sign[known[at]]
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        same = np.sign(np.nan_to_num(density(middle))) == left
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return (low + high) / 2
