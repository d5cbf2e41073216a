"""Linear maps between flat arrays: their values, their transposes, and the same of their moduli."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse

from jaxbarron.bounds.networks.rounding import norm_by_moduli, spectral_norm

__all__ = ["Blocks", "LinearMap", "Sparse", "scaling", "selection"]

_LARGEST_DENSE = 2048  # of a sparse matrix whose spectral norm is worth the work


class LinearMap(Protocol):
    """A matrix of exact doubles that acts on the last axis; ``terms`` bounds the products a sum."""

    @property
    def terms(self) -> int:
        """The largest number of nonzero entries in a row or in a column."""
        ...

    def forward(self, x: Any) -> Any:
        """The image of each row of x, shape (..., n_in) -> (..., n_out)."""
        ...

    def backward(self, y: Any) -> Any:
        """The transpose, shape (..., n_out) -> (..., n_in)."""
        ...

    def modulus(self) -> LinearMap:
        """The map of the moduli of the entries."""
        ...

    def norm(self) -> float:
        """An upper bound of the spectral norm."""
        ...


@dataclass(frozen=True, eq=False)
class Sparse:
    """A sparse matrix, rows by outputs: shape (n_out, n_in), CSR."""

    matrix: Any

    @property
    def terms(self) -> int:
        """The largest number of nonzero entries in a row or in a column."""
        return self._terms

    @functools.cached_property
    def _terms(self) -> int:
        if not self.matrix.nnz:
            return 0
        rows = np.diff(self.matrix.indptr).max()
        return int(max(rows, np.bincount(self.matrix.indices).max()))

    def forward(self, x: Any) -> Any:
        """The image of each row of x."""
        return _times(x, self.matrix)

    def backward(self, y: Any) -> Any:
        """The image of each row of y under the transpose."""
        return _times(y, self._transpose)

    @functools.cached_property
    def _transpose(self) -> Any:
        return self.matrix.T.tocsr()

    def modulus(self) -> LinearMap:
        """The map of the moduli of the entries."""
        return self._modulus

    @functools.cached_property
    def _modulus(self) -> LinearMap:
        return Sparse(abs(self.matrix))

    def norm(self) -> float:
        """An upper bound of the spectral norm."""
        return self._norm

    @functools.cached_property
    def _norm(self) -> float:
        matrix = self.matrix
        simple = norm_by_moduli(abs(matrix))
        if matrix.nnz < 4 * max(matrix.shape) or max(matrix.shape) > _LARGEST_DENSE:
            return simple
        return min(simple, spectral_norm(matrix.toarray()))


def _times(x: Any, matrix: Any) -> Any:
    flat = x.reshape(-1, x.shape[-1])
    return np.ascontiguousarray((matrix @ flat.T).T).reshape(*x.shape[:-1], matrix.shape[0])


@dataclass(frozen=True, eq=False)
class Blocks:
    """Dense blocks: ``out[b, f, o] = sum_k x[b, f, k] weights[b, k, o]``.

    ``order_in`` lists the flat input in the order (b, f, k), ``order_out`` the blocks' output in
    the order of the flat output; None where they are in order.
    """

    weights: Any  # (B, K, O)
    free: int
    order_in: Any = None
    order_out: Any = None

    @property
    def terms(self) -> int:
        """The longest sum, of the map or of its transpose."""
        return max(self.weights.shape[1:])

    def forward(self, x: Any) -> Any:
        """The image of each row of x."""
        return _in_blocks(x, self.weights, self.free, self.order_in, self.order_out)

    def backward(self, y: Any) -> Any:
        """The image of each row of y under the transpose."""
        return _in_blocks(y, self.weights.swapaxes(1, 2), self.free, *self._inverse)

    @functools.cached_property
    def _inverse(self) -> tuple[Any, Any]:
        orders = (self.order_out, self.order_in)
        first, second = (None if order is None else np.argsort(order) for order in orders)
        return first, second

    def modulus(self) -> LinearMap:
        """The map of the moduli of the entries."""
        return self._modulus

    @functools.cached_property
    def _modulus(self) -> LinearMap:
        return Blocks(np.abs(self.weights), self.free, self.order_in, self.order_out)

    def norm(self) -> float:
        """An upper bound of the spectral norm."""
        return self._norm

    @functools.cached_property
    def _norm(self) -> float:
        return max(min(norm_by_moduli(np.abs(x)), spectral_norm(x)) for x in self.weights)


def _in_blocks(x: Any, weights: Any, free: int, order_in: Any, order_out: Any) -> Any:
    blocks, inner, outer = weights.shape
    lead, rows = x.shape[:-1], math.prod(x.shape[:-1])
    flat = x if order_in is None else x[..., order_in]
    if blocks == 1:
        result = flat.reshape(rows * free, inner) @ weights[0]
    else:
        apart = flat.reshape(rows, blocks, free, inner).swapaxes(0, 1)
        result = np.matmul(apart.reshape(blocks, rows * free, inner), weights)
        result = result.reshape(blocks, rows, free, outer).swapaxes(0, 1)
    result = result.reshape(*lead, blocks * free * outer)
    return result if order_out is None else result[..., order_out]


def scaling(factors: Any) -> Sparse:
    """Each number times its factor."""
    return Sparse(scipy.sparse.diags_array(np.asarray(factors, np.float64), format="csr"))


def selection(sources: Sequence[int] | Any, size: int) -> Sparse:
    """Output i is input ``sources[i]`` of ``size``, or 0 where that is negative."""
    sources = np.asarray(sources).reshape(-1)
    rows = np.flatnonzero(sources >= 0)
    entries = (np.ones(len(rows)), (rows, sources[rows]))
    return Sparse(scipy.sparse.csr_array(entries, shape=(len(sources), size)))
