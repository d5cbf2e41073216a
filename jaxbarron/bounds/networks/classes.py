"""Whether the class stays the same: margins of the original against differences of two logits.

The difference ``d_i - d_j`` of two outputs' changes is bounded as one sum, which is less than the
sum of both bounds: errors that move all logits alike move no class (THEORY.md, Theorem Class
margin).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from jaxbarron.bounds.networks.differential import Analysis, Unbounded
from jaxbarron.bounds.networks.forms import affine, interval
from jaxbarron.bounds.networks.maps import Sparse

__all__ = ["Classes", "classes_of", "smallest_margin"]


@dataclass(frozen=True, eq=False)
class Classes:
    """What is certified of the largest output, the class, on the whole region.

    Attributes:
        delta: wherever a class leads all others by at least ``delta`` in the original it is the
            only largest one in the new network; 0: the class is the same everywhere; inf where
            nothing was proved.  Shape (...,): one number for each row of outputs.
        possible: which classes the original may have somewhere in the region, shape (..., C).
        change: bounds of ``d_i - d_j`` at most, over the pairs that matter; shape (...,).
    """

    delta: Any
    possible: Any
    change: Any

    @property
    def same(self) -> bool:
        """Top-1 equivalence: every row has the same class at every point of the region."""
        return bool(np.all(self.delta == 0))

    @property
    def largest_delta(self) -> float:
        """delta-Top-1 equivalence of all rows together."""
        return float(np.max(self.delta, initial=0.0))


def smallest_margin(leads: Any, falls: Any) -> float:
    """The least delta such that no class that can lead by it can be overtaken.

    Args:
        leads: for each class the most by which it can lead all others in the original, shape (C,).
        falls: the most by which its lead over another can fall, among those others that can
            overtake it; -inf where none can.

    Example:
        >>> smallest_margin(np.array([2.0, 0.1]), np.array([0.5, 3.0])) > 0.5
        True
    """
    worst = np.where(leads >= 0, np.minimum(leads, falls), -np.inf)
    top = float(np.max(worst, initial=-np.inf))
    return 0.0 if top < 0 else math.nextafter(top, math.inf)


def classes_of(analysis: Analysis, node: int, shape: tuple[int, ...]) -> Classes:
    """The classes of an output, along its last axis.

    Raises:
        Unbounded: the difference has no finite bound.
    """
    *lead, count = shape
    rows = int(np.prod(lead))
    delta, change = np.zeros(rows), np.zeros(rows)
    possible = np.zeros((rows, count), bool)
    for row in range(rows):
        delta[row], change[row], possible[row] = _row(analysis, node, row * count, count)
    return Classes(delta.reshape(lead), possible.reshape(shape), change.reshape(lead))


def _row(analysis: Analysis, node: int, start: int, count: int) -> tuple[float, float, Any]:
    size = analysis.network.nodes[node].size
    form = analysis.value(node)
    low, high = np.zeros((count, count)), np.zeros((count, count))
    for i in range(count):
        others = np.arange(count)
        matrix = _pairs(np.full(count, i), others, start, size)
        zero = np.zeros(count)
        with np.errstate(invalid="ignore", over="ignore"):
            low[i], high[i] = interval(affine([(Sparse(matrix), form)], zero, zero))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise Unbounded("a difference of two outputs has no finite bound")
    leads = np.min(high + np.where(np.eye(count, dtype=bool), np.inf, 0.0), axis=1, initial=np.inf)
    possible = leads >= 0
    first, second = np.nonzero(possible[:, None] & ~np.eye(count, dtype=bool))
    once = (first < second) | ~possible[second]
    first, second = first[once], second[once]
    found = analysis.difference(node, _pairs(first, second, start, size))
    least = np.full((count, count), np.inf)
    least[first, second] = found.lower
    least[second, first] = -found.upper
    safe = low + least > 0  # a rounded sum has the sign of the sum
    falls = np.where(safe | ~possible[:, None] | np.isinf(least), -np.inf, -least)
    change = float(np.max(np.where(possible[:, None] & np.isfinite(least), -least, 0.0), initial=0))
    return smallest_margin(leads, falls.max(axis=1, initial=-np.inf)), change, possible


def _pairs(first: Any, second: Any, start: int, size: int) -> Any:
    """The rows ``e_first - e_second``."""
    count = len(first)
    at = np.arange(count)
    plus = scipy.sparse.coo_array((np.ones(count), (at, start + first)), shape=(count, size))
    minus = scipy.sparse.coo_array((np.ones(count), (at, start + second)), shape=(count, size))
    return (plus - minus).tocsr()
