"""The density of a function on a reach by the nodes of cells (THEORY.md, Theorem Matched cells).

Each cell of D = sigma^(s+1) has one node (s = 1) or two with the moments of D/s! up to order s.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from jaxbarron.activations import Activation
from jaxbarron.errors import NonFiniteError
from jaxbarron.kernels.density import knot_mass
from jaxbarron.programs import evaluate_program

__all__ = ["Nodes", "cumulative_mass", "largest_error", "matched_nodes"]

Array = NDArray[np.float64]

_GAUSS, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_PANELS = 4  # in each cell
_POINTS = 9  # in each gap, where a kernel's error is estimated


@dataclass(frozen=True, eq=False)
class Nodes:
    """D on [-R, R] as finitely many nodes, those of one cell sharing their side.

    Attributes:
        s: the power of the target.
        reach: R.
        places: t_k, ascending by cells.
        masses: m_k, of both signs: the measure D/s! of a cell has the moments of its nodes up to
            order s.
        cells: which cell holds each node.
        start: the coefficients of y^0, ..., y^s of the Taylor polynomial at z = -R, y = z/R.
    """

    s: int
    reach: float
    places: Array
    masses: Array
    cells: NDArray[np.int64]
    start: Array

    @property
    def costs(self) -> Array:
        """What each node costs as a right or as a left particle."""
        return np.abs(self.masses) * (self.reach + np.abs(self.places)) ** self.s

    def powers(self) -> Array:
        """``m_k (z - t_k)^s`` in powers of y, one row for each cell."""
        s, y = self.s, self.places / self.reach
        rows = np.stack(
            [math.comb(s, j) * (-y) ** (s - j) * self.masses * self.reach**s for j in range(s + 1)],
            axis=1,
        )
        total = np.zeros((int(self.cells[-1]) + 1 if self.cells.size else 0, s + 1))
        np.add.at(total, self.cells, rows)
        return total


def matched_nodes(
    sigma: Activation, s: int, reach: float, cells: int, extra: Sequence[float] = ()
) -> Nodes:
    """D/s! on [-reach, reach] by the nodes of about ``cells`` cells of one sign.

    Edges lie at sign changes of D, at 0, where the weight has its kink, at kinks of sigma and at
    ``extra``; the others spread |D|^(1/(s+1)) evenly.  Kinks are nodes of their own.

    Raises:
        NonFiniteError: sigma or its derivatives are not finite on the interval.
    """
    density = sigma.derivative(s + 1).program
    points, mass = cumulative_mass(sigma, s, reach)
    atoms = [k for k in sigma.kinks if abs(k.location) < reach and k.jumps[s]]
    fixed = {-reach, 0.0, reach, *(k.location for k in atoms), *_sign_changes(density, points)}
    bounds = np.array(sorted(fixed | {x for x in extra if abs(x) < reach}))
    edges = _spread(bounds, points, mass, cells)
    start = [
        float(evaluate_program((sigma.derivative(j) if j else sigma).program, np.float64(-reach)))
        for j in range(s + 1)
    ]
    if kinked := [k for k in sigma.kinks if k.location == -reach]:
        start = [v - k.jumps[j] if j < 4 else v for k in kinked for j, v in enumerate(start)]
    places, masses, owner = _gauss_nodes(density, edges, s)
    places = np.append(places, [k.location for k in atoms])
    masses = np.append(masses, [k.jumps[s] / math.factorial(s) for k in atoms])
    count = int(owner[-1]) + 1 if owner.size else 0
    owner = np.append(owner, count + np.arange(len(atoms), dtype=np.int64))
    if not (np.isfinite(masses).all() and np.isfinite(start).all()):
        raise NonFiniteError(
            f"given: {sigma.name}, which is not finite in doubles on |z| <= {reach:g}; expected: "
            "finite values and derivatives there; do: give a smaller reach"
        )
    # sum_j sigma^(j)(-R)/j! (R (y + 1))^j
    polynomial = np.polynomial.Polynomial([0.0])
    for j, value in enumerate(start):
        polynomial += value * reach**j / math.factorial(j) * np.polynomial.Polynomial([1, 1]) ** j
    coefficients = np.zeros(s + 1)
    coefficients[: polynomial.coef.size] = polynomial.coef
    return Nodes(s, reach, places, masses, owner, coefficients)


@functools.lru_cache(maxsize=64)
def cumulative_mass(sigma: Activation, s: int, reach: float) -> tuple[Array, Array]:
    """Points of [-R, R], and the integral of |D|^(1/(s+1)) up to each."""
    return knot_mass(sigma, s, -reach, reach)


def _sign_changes(density: Any, points: Array) -> list[float]:
    values = np.nan_to_num(evaluate_program(density, points))
    size = np.abs(values)
    known = np.flatnonzero(size > 1e-13 * size.max(initial=0.0))
    at = np.flatnonzero(np.sign(values[known[1:]]) != np.sign(values[known[:-1]]))

    def value(t: float) -> float:
        return float(evaluate_program(density, np.float64(t)))

    found: list[float] = []
    for low, high in zip(points[known[at]], points[known[at + 1]], strict=True):
        root: Any = brentq(value, float(low), float(high))
        found.append(float(root))
    return found


def _spread(bounds: Array, points: Array, mass: Array, cells: int) -> Array:
    """Edges between the bounds, as equal in mass as the bounds allow, one cell between two."""
    marks = np.interp(bounds, points, mass)
    widths, counts = np.diff(marks), np.ones(bounds.size - 1, np.int64)
    for _ in range(cells - counts.size):
        counts[np.argmax(widths / counts)] += 1
    edges: list[Array] = []
    for left, right, low, width, n in zip(
        bounds[:-1], bounds[1:], marks[:-1], widths, counts, strict=True
    ):
        inner = np.interp(low + width * np.arange(1, n) / n, mass, points) if n > 1 else np.zeros(0)
        edges.append(np.concatenate([[left], inner[(inner > left) & (inner < right)]]))
    return np.concatenate([*edges, bounds[-1:]])


def _gauss_nodes(density: Any, edges: Array, s: int) -> tuple[Array, Array, NDArray[np.int64]]:
    """The Gauss rule of D/s! on each cell, with one node (s = 1) or two; empty cells have none."""
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    centres = (2 * np.arange(_PANELS) + 1) / _PANELS - 1
    x = (centres[:, None] + _GAUSS / _PANELS).reshape(-1)  # in (-1, 1)
    weights = np.tile(_WEIGHTS / _PANELS, _PANELS)
    values = evaluate_program(density, middle[:, None] + half[:, None] * x)
    values = values * weights * half[:, None] / math.factorial(s)
    mass = values.sum(axis=1)
    used = np.flatnonzero(mass != 0)
    values, mass = values[used], mass[used]
    share = values / mass[:, None]
    mean = share @ x
    if s == 1:
        return middle[used] + half[used] * mean, mass, np.arange(used.size)
    centred = x - mean[:, None]
    spread = np.sqrt(np.sum(share * centred**2, axis=1))
    skewness = np.sum(share * centred**3, axis=1) / spread**3
    root = np.sqrt(skewness**2 + 4)
    right = np.where(skewness > 0, (skewness + root) / 2, 2 / (root - skewness))
    part = right**2 / (1 + right**2)  # of the left node
    nodes = np.stack([mean - spread / right, mean + spread * right], axis=1)
    places = middle[used, None] + half[used, None] * nodes
    masses = mass[:, None] * np.stack([part, 1 - part], axis=1)
    return places.reshape(-1), masses.reshape(-1), np.repeat(np.arange(used.size), 2)


def largest_error(sigma: Activation, nodes: Nodes) -> float:
    """The largest error at points of every gap: no side and no polynomial changes it."""
    breaks = np.unique(np.concatenate([[-nodes.reach], nodes.places, [nodes.reach]]))
    x = np.linspace(0, 1, _POINTS)
    z = (breaks[:-1, None] + np.diff(breaks)[:, None] * x).reshape(-1)
    # from the nearer end, so that no sum over all nodes cancels
    difference = z[:, None] - nodes.places
    total = (np.where(difference > 0, difference, 0) ** nodes.s) @ nodes.masses
    total += np.polynomial.polynomial.polyval(z / nodes.reach, nodes.start)
    return float(np.max(np.abs(total - evaluate_program(sigma.program, z))))
