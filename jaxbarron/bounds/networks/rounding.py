"""Outward rounding for arrays of doubles: how far a computed sum can be from the true one.

THEORY.md, Theorem Floating-point outward rounding.  Nothing here depends on the order in which a
library adds, or on fused multiplications.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["MOST_TERMS", "allowance", "norm_by_moduli", "raised", "spectral_norm"]

_UNIT = 2.0**-53
# Beyond the sum of all products that can underflow: 2**20 of them, each off by at most 2**-1074.
_TINY = 2.0**-1000
MOST_TERMS = 1 << 20


def allowance(magnitude: Any, roundings: int) -> Any:
    """Bound on the error of sums of which each term was rounded at most ``roundings`` times.

    Args:
        magnitude: the sums of the moduli of the terms, as computed in doubles with at most as many
            roundings a term.
        roundings: at most 2**20.

    Example:
        >>> bool(abs(sum([0.1] * 10) - 1.0) <= allowance(1.0, 11))
        True
    """
    if roundings > MOST_TERMS:
        return np.full(np.shape(magnitude), np.inf)
    return magnitude * (2 * (roundings + 8) * _UNIT) + _TINY


def raised(total: Any, roundings: int) -> Any:
    """An upper bound of sums of numbers >= 0, from the computed sums.

    Args:
        total: the sums, each of whose terms was rounded at most ``roundings`` times.
        roundings: at most 2**20.

    Example:
        >>> bool(raised(np.float64(1.0), 3) > 1.0)
        True
    """
    return total * (1 + 2 * (roundings + 8) * _UNIT) + _TINY


def norm_by_moduli(moduli: Any) -> float:
    """The square root of largest row sum times largest column sum, at least the spectral norm."""
    rows, columns = (float(np.max(moduli.sum(axis=k), initial=0.0)) for k in (0, 1))
    return float(raised(np.sqrt(raised(np.float64(rows) * columns, 2 * max(moduli.shape))), 4))


def spectral_norm(matrix: Any) -> float:
    """An upper bound of the spectral norm of an array of doubles, sharp to about 1e-10.

    With any V that is nearly orthogonal, ``|x|^2 (1 - delta) <= |V^T ... |`` bounds the largest
    eigenvalue of ``A = W^T W`` by the row sums of ``V^T A V`` over ``1 - |I - V^T V|``: V may come
    from anywhere (THEORY.md, Theorem Floating-point outward rounding).
    """
    matrix = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    size = float(np.max(np.abs(matrix), initial=0.0))
    if size == 0.0 or not np.isfinite(size):
        return size
    scaled = matrix / 2.0 ** np.floor(np.log2(size))
    longest, short = matrix.shape
    gram = scaled.T @ scaled
    basis = np.linalg.eigh(gram)[1]
    moduli, bases = np.abs(scaled), np.abs(basis)
    noise = allowance(moduli.T @ moduli, longest)
    image = gram @ basis
    turned = basis.T @ image
    sizes = bases.T @ (np.abs(gram) @ bases)
    errors = allowance(sizes, 2 * short) + bases.T @ (noise @ bases) * (1 + 2.0**-20)
    top = float(np.max(raised((np.abs(turned) + errors).sum(axis=1), short + 4)))
    overlap = np.abs(basis.T @ basis - np.eye(short)) + allowance(bases.T @ bases + 1, short)
    delta = float(np.max(raised(overlap.sum(axis=1), short + 4)))
    if not delta < 0.5:
        return float("inf")
    bound = raised(np.sqrt(raised(np.float64(top / (1 - delta)), 4)), 4)
    return float(raised(bound * 2.0 ** np.floor(np.log2(size)), 4))
