"""Quadratic forms of the region's symbols, many together: row by row, and as one vector.

THEORY.md, Theorem Joint parabolas.  ``sum_i c_i (J_i xi)^2`` is bounded by one norm of a signed sum
of matrices of rank one; a vector of such sums by one norm of a matrix, since ``(J_i xi)^2`` is
linear in the array ``xi xi^T``, whose norm is ``|xi|^2``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxbarron.bounds.networks.bends import norm_of
from jaxbarron.bounds.networks.expansions import Symbols, cautious_norm, largest_eigenvalue
from jaxbarron.bounds.networks.rounding import allowance, raised

__all__ = ["Bilinear", "crossed_norms", "row_norms", "vector_norm"]

_MOST = 4096  # symbols, and numbers at a node
_MOST_SQUARES = 2048  # of one vector, and its entries: matrices are that large
_MOST_WORK = 1 << 35  # multiplications for the crossed norms of one node
_SPECTRAL = 160  # symbols up to which a matrix for each number of a node is worth its norm
_CHUNK = 1 << 23
_UNDERFLOWS = 2.0**-500  # of a root of what underflows

Part = tuple[Any, Any]  # weights (rows, n) of squares, and the jacobian (n, symbols) under them


def row_norms(parts: Sequence[Part], rows: int, symbols: Symbols) -> Any:
    """Upper bounds of ``|sum_i weights_i (jacobian_i xi)^2|``, row by row, over all parts.

    Args:
        parts: weights and jacobians.
        rows: how many.
        symbols: where xi lies.
    """
    count = symbols.count
    if not count or not parts:
        return np.zeros(rows)
    if count > _SPECTRAL:
        # the Frobenius norm of sum_i c_i J_i J_i^T is c^T G c with G_ij = (J_i . J_j)^2
        weights, gram, off = _squares(parts)
        square = np.sum((weights @ gram) * weights, axis=1)
        moduli = np.abs(weights)
        square = square + np.sum((moduli @ (off + 2.0**-36 * gram)) * moduli, axis=1)
        tiny = _UNDERFLOWS * moduli.sum(axis=1)
        return raised((np.sqrt(np.maximum(square, 0.0)) + tiny) * symbols.length**2, 64)
    found = np.zeros(rows)
    step = max(1, _CHUNK // max(count * max(len(j) for _, j in parts), 1))
    for start in range(0, rows, step):
        here = slice(start, start + step)
        matrix, moduli = np.zeros((1, count, count)), np.zeros((1, count, count))
        for part, jacobian in parts:
            scaled = part[here, :, None] * jacobian
            matrix = matrix + np.matmul(jacobian.T, scaled)
            moduli = moduli + np.matmul(np.abs(jacobian).T, np.abs(scaled))
        found[here] = _norms(matrix, allowance(moduli, 2 * _MOST)) * symbols.length**2
    return raised(found, 16)


def vector_norm(parts: Sequence[Part], symbols: Symbols) -> float:
    """An upper bound of the Euclidean norm of the vector ``sum_i weights[:, i] (jacobian_i xi)^2``.

    inf where there are too many of them for one matrix.

    Example:
        >>> eye = np.eye(2)
        >>> bool(0.5 <= vector_norm([(0.5 * eye, eye)], Symbols(1, None)) < 0.8)
        True
    """
    if not parts or not symbols.count:
        return 0.0
    if max(len(parts[0][0]), sum(len(jacobian) for _, jacobian in parts)) > _MOST_SQUARES:
        return float("inf")
    weights, gram, off = _squares(parts)
    moduli = np.abs(weights)
    image = weights @ gram @ weights.T
    doubt = moduli @ (off + 2.0**-36 * gram) @ moduli.T
    # each entry of the doubt is itself a sum that was rounded
    square = largest_eigenvalue(image / 2 + image.T / 2) + norm_of((1 + 2.0**-30) * doubt.ravel())
    root = np.sqrt(raised(np.float64(max(square, 0.0)), 8)) + _UNDERFLOWS * float(moduli.sum())
    return float(raised(root * symbols.length**2, 64))


def crossed_norms(weights: Any, parts: Sequence[Part], jacobian: Any) -> list[Any] | None:
    """For each part upper bounds of the spectral norms of ``path^T diag(weights_i) jacobian``.

    Args:
        weights: shape (rows, n).
        parts: pairs of a path (n, m) and anything.
        jacobian: (n, symbols).

    Returns:
        For each path an array of one number for each row; None where it would be too much work.
    """
    rows, (size, count) = len(weights), jacobian.shape
    if rows * size * count * sum(path.shape[1] for path, _ in parts) > _MOST_WORK:
        return None
    found: list[Any] = []
    largest = np.max(np.abs(weights), axis=1, initial=0.0)
    for path, _ in parts:
        norms = np.zeros(rows)
        step = max(1, _CHUNK // max(count * max(path.shape), 1))
        for start in range(0, rows, step):
            here = weights[start : start + step]
            matrix = np.matmul(path.T, here[:, :, None] * jacobian)
            if matrix.shape[1] < count:
                matrix = np.swapaxes(matrix, 1, 2)
            gram = np.matmul(np.swapaxes(matrix, 1, 2), matrix)
            moduli = np.abs(matrix)
            gram_size = np.matmul(np.swapaxes(moduli, 1, 2), moduli)
            norms[start : start + step] = np.sqrt(_norms(gram, allowance(gram_size, 2 * _MOST)))
        # of the matrices themselves: rounding, by the product of three Frobenius norms
        sizes = norm_of(np.abs(path).ravel()) * norm_of(np.abs(jacobian).ravel()) * largest
        found.append(raised(norms + allowance(sizes, size + 32) + _UNDERFLOWS, 16))
    return found


class Bilinear:
    """Sums of ``left^T diag(weights) right``, for each pair of nodes, and bounds of their norms."""

    def __init__(self) -> None:
        self.sums: dict[tuple[int | None, int], Any] = {}
        self.sizes: dict[tuple[int | None, int], float] = {}

    def add(self, i: int | None, j: int, left: Any, weights: Any, right: Any) -> None:
        """One node's term."""
        scaled = weights[:, None] * right
        self.sums[i, j] = self.sums.get((i, j), 0.0) + left.T @ scaled
        size = norm_of(np.abs(left).ravel()) * norm_of(np.abs(scaled).ravel())
        self.sizes[i, j] = self.sizes.get((i, j), 0.0) + size

    def norms(self) -> dict[tuple[int | None, int], float]:
        """For each pair a bound of the spectral norm of the true sum."""
        return {
            pair: cautious_norm(matrix) + float(allowance(self.sizes[pair], _MOST + 16))
            for pair, matrix in self.sums.items()
        }

    def form(self, sizes: Mapping[int, float]) -> float:
        """A bound of ``sum w_i^T sums[i, j] w_j``, |w_i|_2 <= sizes[i]; pairs i < j count twice."""
        total = 0.0
        for (i, j), matrix in self.sums.items():
            assert i is not None
            size = sizes[i] * sizes[j]
            off = float(allowance(self.sizes[i, j], _MOST + 16))
            if i == j:
                total += (max(largest_eigenvalue(matrix / 2 + matrix.T / 2), 0.0) + off) * size
            else:
                total += 2 * (cautious_norm(matrix) + off) * size
        return float(raised(np.float64(total), _MOST))


def _squares(parts: Sequence[Part]) -> tuple[Any, Any, Any]:
    """All weights; the products ``(J_i . J_j)^2``; and bounds of what rounding does to those."""
    weights = np.concatenate([part for part, _ in parts], axis=1)
    stacked = np.concatenate([jacobian for _, jacobian in parts])
    moduli = np.abs(stacked)
    return weights, (stacked @ stacked.T) ** 2, 2.0**-36 * (moduli @ moduli.T) ** 2


def _norms(matrices: Any, errors: Any) -> Any:
    """Upper bounds of the spectral norms of symmetric arrays, each entry off by its error."""
    basis = np.linalg.eigh(matrices)[1]
    moduli, turned = np.abs(basis), np.swapaxes(basis, -1, -2)
    size = matrices.shape[-1]
    image = np.matmul(turned, np.matmul(matrices, basis))
    noise = np.matmul(np.swapaxes(moduli, -1, -2), np.matmul(np.abs(matrices), moduli))
    noise = allowance(noise, 2 * size)
    spread = np.matmul(np.swapaxes(moduli, -1, -2), np.matmul(errors, moduli)) * (1 + 2.0**-20)
    total = np.abs(image) + noise + spread
    total = np.maximum(total, np.swapaxes(total, -1, -2))
    top = raised(total.sum(axis=-1), size + 4).max(axis=-1)
    overlap = np.abs(np.matmul(turned, basis) - np.eye(size)) + allowance(
        np.matmul(np.swapaxes(moduli, -1, -2), moduli) + 1, size
    )
    delta = raised(overlap.sum(axis=-1), size + 4).max(axis=-1)
    return np.where(delta < 0.5, top / (1 - delta) * (1 + 2.0**-50), np.inf)
