"""Every node about the centre of the region: a linear map of the input, and what bends it.

At a centre z0 an elementwise function is ``y0 + s0 (z - z0) + w(z)``, with doubles y0 and s0; so
each node is ``centre + jacobian xi + sum_k paths[k] w_k`` with xi the region's symbols and w_k the
bends of the functions before it, up to a noise of rounding (THEORY.md, Theorem Joint parabolas).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxbarron.bounds.networks.forms import Form, Group, form_of, total
from jaxbarron.bounds.networks.maps import LinearMap
from jaxbarron.bounds.networks.rounding import (
    allowance,
    norm_by_moduli,
    raised,
    spectral_norm,
)

__all__ = [
    "Expansion",
    "Symbols",
    "cautious_norm",
    "expand_affine",
    "expand_function",
    "expand_input",
    "joint_norm",
    "largest_eigenvalue",
]

_UNDERFLOWS = 2.0**-960  # of all entries of a row together


@dataclass(frozen=True)
class Symbols:
    """What is known of xi: each in [-1, 1], or together in a unit ball."""

    count: int
    group: Group | None

    @property
    def length(self) -> float:
        """An upper bound of ``|xi|_2``."""
        return 1.0 if self.group is not None else float(raised(np.sqrt(float(self.count)), 4))

    def linear(self, rows: Any) -> Any:
        """Upper bounds of ``|row . xi|`` for each row of an array (n, count)."""
        zero = np.zeros(len(rows))
        return total(form_of(zero, np.ascontiguousarray(rows.T), zero, group=self.group))

    def quadratic(self, matrix: Any, rounding: float, weights: Any) -> float:
        """An upper bound of ``xi^T M xi``, M within ``rounding`` of a symmetric array.

        ``weights`` > 0: M <= t diag(weights) gives t sum(weights) where each xi is in [-1, 1].
        """
        if self.group is not None:
            top = largest_eigenvalue(matrix) + rounding
            return max(float(raised(np.float64(max(top, 0.0)), 8)), 0.0)
        inverse = 1 / np.sqrt(weights)
        scaled = matrix * inverse[:, None] * inverse
        # the products and the roots are rounded, by 8 units relatively at most
        off = 2.0**-49 * float(np.sqrt(np.sum(scaled**2))) + rounding * float(
            np.max(inverse**2, initial=0.0)
        )
        top = largest_eigenvalue(scaled) + float(raised(np.float64(off), self.count**2 + 8))
        total_weight = raised(np.sum(weights), self.count + 4)
        return float(raised(np.float64(max(top, 0.0)) * total_weight, 64))


@dataclass(frozen=True, eq=False)
class Expansion:
    """``|v - centre - jacobian xi - sum_k paths[k] w_k| <= noise``, entry by entry."""

    centre: Any  # (n,)
    jacobian: Any  # (n, symbols)
    paths: Mapping[int, Any]  # of a function's node: (n, its size)
    noise: Any  # (n,)


def expand_input(form: Form) -> Expansion:
    """The region itself."""
    return Expansion(form.centre, form.slopes.T.copy(), {}, form.radius)


def expand_affine(
    terms: Sequence[tuple[LinearMap, Expansion]],
    bias: Any,
    bias_radius: Any,
    symbols: Symbols,
    sizes: Mapping[int, Any],
) -> Expansion:
    """``bias + sum_k L_k v_k``; ``sizes`` bounds the moduli of the bends w_k, entry by entry."""
    centre, noise, magnitude = bias, bias_radius, np.abs(bias)
    jacobian = np.zeros((len(bias), symbols.count))
    paths: dict[int, Any] = {}
    count = sum(linear.terms for linear, _ in terms) + 2 * len(terms) + 4
    for linear, v in terms:
        centre = centre + linear.forward(v.centre)
        jacobian = jacobian + linear.forward(v.jacobian.T).T
        reach = np.abs(v.centre) + np.abs(v.jacobian).sum(axis=1)
        for k, path in v.paths.items():
            moved = linear.forward(path.T).T
            paths[k] = paths[k] + moved if k in paths else moved
            reach = reach + np.abs(path) @ sizes[k]
        noise = noise + linear.modulus().forward(v.noise)
        magnitude = magnitude + linear.modulus().forward(reach)
    longest = max([symbols.count, *(len(x) for x in sizes.values())], default=0)
    noise = raised(raised(noise, count) + allowance(magnitude, count + longest), 4) + _UNDERFLOWS
    return Expansion(centre, jacobian, paths, noise)


def expand_function(
    source: Expansion, node: int, value: Any, slope: Any, sizes: Mapping[int, Any]
) -> Expansion:
    """A function's values: ``value + slope (v - centre) + w``.

    Args:
        source: of the argument.
        node: the function's own index, under which its bend w goes.
        value: doubles near the function's values at the source's centre.
        slope: doubles near its derivatives there.
        sizes: as for :func:`expand_affine`.
    """
    paths = {k: path * slope[:, None] for k, path in source.paths.items()}
    paths[node] = np.eye(len(value))
    reach = np.abs(source.jacobian).sum(axis=1)
    for k, path in source.paths.items():
        reach = reach + np.abs(path) @ sizes[k]
    longest = max([source.jacobian.shape[1], *(len(x) for x in sizes.values())])
    noise = raised(np.abs(slope) * source.noise, 4)
    noise = raised(noise + allowance(np.abs(slope) * reach, longest + 8), 4) + _UNDERFLOWS
    return Expansion(value, source.jacobian * slope[:, None], paths, noise)


def joint_norm(parts: Sequence[tuple[Any, float]]) -> float:
    """An upper bound of ``|sum_k A_k v_k|_2`` over all ``|v_k|_2 <= r_k``.

    The triangle inequality, and one norm of the matrices side by side: for weights t_k > 0 of sum 1
    the vectors ``v_k sqrt(t_k) / r_k`` have together the norm 1 at most.  An
    unknown radius (NaN) gives NaN, which no bound passes.
    """
    parts = [(matrix, float(r)) for matrix, r in parts if r != 0 and matrix.size]
    if not parts:
        return 0.0
    norms = np.array([cautious_norm(matrix) * r for matrix, r in parts])
    plain = float(raised(np.sum(norms), len(norms) + 4))
    if len(parts) == 1 or not 0 < plain < np.inf:
        return plain
    shares = np.maximum(norms / plain, 2.0**-20) * (1 - 2.0**-10)
    shares = shares / max(1.0, float(np.sum(shares)) * (1 + 2.0**-40))
    beside = np.concatenate(
        [matrix * (r / np.sqrt(t)) for (matrix, r), t in zip(parts, shares, strict=True)], axis=1
    )
    # a factor r / sqrt(t) and its product with an entry are rounded by 2^-50 relatively
    return min(plain, cautious_norm(beside) * (1 + 2.0**-40))


def cautious_norm(matrix: Any) -> float:
    """An upper bound of the spectral norm: the smaller of two."""
    if not matrix.size:
        return 0.0
    return min(norm_by_moduli(np.abs(matrix)), spectral_norm(matrix))


def largest_eigenvalue(matrix: Any) -> float:
    """An upper bound of the largest eigenvalue of a symmetric array of doubles.

    With any V, ``x = V y``: ``x^T M x = y^T T y`` with ``T = V^T M V`` is at most
    ``max_i (T_ii + sum_j |T_ij|) |y|^2``, and ``|x|^2`` lies within ``(1 -+ delta) |y|^2``
    (THEORY.md, Theorem Floating-point outward rounding).
    """
    size = len(matrix)
    if not size:
        return 0.0
    basis = np.linalg.eigh(matrix)[1]
    moduli = np.abs(basis)
    turned = basis.T @ (matrix @ basis)
    errors = allowance(moduli.T @ (np.abs(matrix) @ moduli), 2 * size)
    off = np.abs(turned) + errors
    off = np.maximum(off, off.T)  # only the symmetric part counts
    diagonal = np.diagonal(turned) + np.diagonal(errors)
    radius = raised(off.sum(axis=1) - np.diagonal(off), size + 4)
    radius = radius + 2.0**-40 * off.sum(axis=1)  # the difference of two sums
    top = float(np.max(diagonal + radius + 2.0**-50 * np.abs(diagonal)))
    overlap = np.abs(basis.T @ basis - np.eye(size)) + allowance(moduli.T @ moduli + 1, size)
    delta = float(np.max(raised(overlap.sum(axis=1), size + 4)))
    if not (delta < 0.5 and np.isfinite(top)):
        return float("inf")
    return top / (1 - delta) * (1 + 2.0**-50) if top > 0 else top / (1 + delta) * (1 - 2.0**-50)
