"""A bound on all neurons together: errors cannot all be at their worst at one input.

THEORY.md, Theorem Joint parabolas.  Each neuron's share of the change is bounded by a parabola in
its own argument; the parabolas of all neurons add up to one quadratic form of the input, which is
bounded on the region as a whole.  Any parabolas give a true bound: :mod:`parabolas` chooses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxbarron.bounds.networks.bends import Bend, bend_of, norm_of
from jaxbarron.bounds.networks.differential import Analysis, Unbounded
from jaxbarron.bounds.networks.expansions import (
    Expansion,
    Symbols,
    cautious_norm,
    expand_affine,
    expand_function,
    expand_input,
    joint_norm,
)
from jaxbarron.bounds.networks.forms import Form, euclidean
from jaxbarron.bounds.networks.graph import Affine, Constant, Elementwise, Input
from jaxbarron.bounds.networks.rounding import allowance, raised

__all__ = ["Joint", "Multipliers", "Neurons"]

_MOST = 4096  # numbers at a node, and symbols: beyond, dense matrices are too large
_MOST_NEURONS = 8192
_SPECTRAL = 160  # symbols up to which a matrix for each number of a node is worth its norm
_CHUNK = 1 << 23


@dataclass(frozen=True, eq=False)
class Neurons:
    """One elementwise node, its argument about the centre, and what is proved of both networks.

    ``argument``: |zeta| and |zeta'| <= bend.reach, their Euclidean norms <= length;
    of ``zeta - jacobian xi``: <= away, norm <= drift; of zeta' - zeta: <= gap, norm <= gap_norm.
    Of the bends in both networks: norm <= bent; of g = y' - y - s0 (zeta' - zeta): <= change,
    norm <= change_norm.
    """

    node: int
    argument: Expansion
    bend: Bend
    straight: Any  # bounds of |jacobian xi|
    away: Any
    length: float
    drift: float
    gap: Any
    gap_norm: float
    bent: float
    change: Any
    change_norm: float


@dataclass(frozen=True, eq=False)
class Multipliers:
    """Parabolas ``linear t + quadratic t^2`` for each neuron, and weights of the symbols."""

    linear: Mapping[int, Any]
    quadratic: Mapping[int, Any]
    weights: Any


class Joint:
    """One network on one region, about the region's centre.

    Args:
        analysis: of the same network; its ranges and differences are used where they are narrower.

    Raises:
        Unbounded: a node is a product, or too large, or has no finite bound.
    """

    def __init__(self, analysis: Analysis) -> None:
        network, region = analysis.network, analysis.box
        self.analysis, self.network = analysis, network
        group = region.group
        if group is not None and group.count != region.symbols:
            raise Unbounded("a ball that does not hold all symbols")
        self.symbols = Symbols(region.symbols, group)
        self.neurons: dict[int, Neurons] = {}
        self.expansions: list[Expansion] = []
        self._sizes: dict[int, Any] = {}
        if region.symbols > _MOST or max(x.size for x in network.nodes) > _MOST:
            raise Unbounded("too many numbers at a node for a joint bound")
        total = sum(x.size for x in network.nodes if isinstance(x, Elementwise))
        if total > _MOST_NEURONS:
            raise Unbounded("too many neurons for a joint bound")
        with np.errstate(invalid="ignore", over="ignore"):
            for index in range(len(network.nodes)):
                self.expansions.append(self._expanded(index, region))

    def _expanded(self, index: int, region: Form) -> Expansion:
        node = self.network.nodes[index]
        if isinstance(node, Input):
            return expand_input(region)
        if isinstance(node, Constant):
            none = np.zeros((node.size, self.symbols.count))
            return Expansion(node.centre, none, {}, node.radius)
        if isinstance(node, Affine):
            terms = [(linear, self.expansions[k]) for k, linear in node.terms]
            return expand_affine(terms, node.bias, node.bias_radius, self.symbols, self._sizes)
        if not isinstance(node, Elementwise):
            raise Unbounded("a product of two numbers that depend on the input")
        here = self._neurons(index, node)
        self.neurons[index] = here
        self._sizes[index] = here.bend.size
        argument, bend = here.argument, here.bend
        return expand_function(argument, index, bend.value, bend.slope, self._sizes)

    def _neurons(self, index: int, node: Elementwise) -> Neurons:
        x = self.expansions[node.source]
        straight = self.symbols.linear(x.jacobian)
        away = raised(self._drift(x) + x.noise, 4)
        gap, gap_norm = self._gap(x)
        moved = self.analysis.difference(node.source)
        gap = np.minimum(gap, np.maximum(np.abs(moved.lower), np.abs(moved.upper)))
        gap_norm = min(gap_norm, norm_of(gap))
        gap = np.minimum(gap, gap_norm)
        low, high = self.analysis.span(node.source)
        reach = np.maximum(high - x.centre, x.centre - low)
        reach = raised(reach + 2.0**-50 * np.abs(x.centre) + gap, 4)
        reach = np.minimum(reach, raised(straight + away, 4))
        bend = bend_of(node, x.centre, reach)
        away = np.minimum(away, raised(straight + reach, 4))
        noise = norm_of(x.noise)
        drift = min(self._through(x, np.ones(node.size), "bent") + noise, norm_of(away))
        length = min(self._norm(x, np.ones(node.size)), norm_of(bend.reach))
        bent = min(
            self._norm(x, bend.ratio) + norm_of(bend.rest) + norm_of(bend.error),
            norm_of(bend.size),
        )
        turned = self._turned(x, bend, gap, gap_norm)
        change = raised(bend.error + np.minimum(bend.steepest * gap, turned), 4)
        change_norm = min(_up(norm_of(bend.error) + turned), norm_of(change))
        return Neurons(index, x, bend, straight, away, length, drift, gap, gap_norm, _up(bent),
                       change, change_norm)  # fmt: skip

    def _through(self, x: Expansion, weights: Any, what: str) -> float:
        """A bound of the norm of ``weights sum_k paths[k] v_k``, v_k the bends or the changes."""
        parts = [
            (weights[:, None] * path, getattr(self.neurons[k], what)) for k, path in x.paths.items()
        ]
        return _up(joint_norm(parts))

    def _norm(self, x: Expansion, weights: Any) -> float:
        """A bound of the norm of ``weights zeta`` and of ``weights zeta'``."""
        straight = cautious_norm(weights[:, None] * x.jacobian) * self.symbols.length
        return _up(straight + self._through(x, weights, "bent") + norm_of(weights * x.noise))

    def _gap(self, x: Expansion) -> tuple[Any, float]:
        """Bounds of the difference of both networks, entry by entry and in norm."""
        gap = 2 * x.noise
        for k, path in x.paths.items():
            there, moduli = self.neurons[k], np.abs(path)
            gap = gap + np.minimum(moduli @ there.change, euclidean(path) * there.change_norm)
        norm = self._through(x, np.ones(len(gap)), "change_norm") + 2 * norm_of(x.noise)
        return raised(gap, _MOST), _up(norm)

    def _turned(self, x: Expansion, bend: Bend, gap: Any, gap_norm: float) -> float:
        """A bound of the norm of ``(s - s0)(zeta' - zeta)``: two, the smaller."""
        steep = bend.steepest
        first = self._through(x, steep, "change_norm") + 2 * norm_of(steep * x.noise)
        rate = raised(np.abs(bend.curve) + bend.tilt_rate, 4)
        far = float(np.max(rate * gap + bend.tilt_rest, initial=0.0))
        return _up(min(first, self._norm(x, raised(rate * gap, 4)) + far * gap_norm))

    def _drift(self, x: Expansion) -> Any:
        """Bounds of ``|sum_k paths[k] w_k|``, entry by entry: the bends keep their signs."""
        if not x.paths:
            return np.zeros(len(x.centre))
        plain = np.zeros(len(x.centre))
        rest = np.zeros(len(x.centre))
        for k, path in x.paths.items():
            here, moduli = self.neurons[k], np.abs(path)
            bend, largest = here.bend, moduli.max(axis=1, initial=0.0)
            rows = euclidean(path)
            plain = plain + np.minimum(moduli @ bend.size, rows * here.bent)
            squares = self._norm(here.argument, np.sqrt(bend.rate) * (1 + 2.0**-50)) ** 2
            rest = rest + np.minimum(largest * squares, moduli @ (bend.rate * bend.reach**2))
            rest = rest + moduli @ bend.rest
            rest = rest + np.minimum(moduli @ bend.error, rows * norm_of(bend.error))
            # zeta^2 - (jacobian xi)^2 = (zeta - jacobian xi)(zeta + jacobian xi)
            curved = moduli * (np.abs(bend.curve) / 2)
            apart = here.away * (bend.reach + here.straight)
            together = here.drift * (2 * here.length)
            together += here.drift**2
            rest = rest + np.minimum(curved @ apart, curved.max(axis=1, initial=0.0) * together)
        quadratic = self._quadratic_rows(x)
        return np.minimum(raised(plain, _MOST), raised(quadratic + rest, _MOST))

    def _quadratic_rows(self, x: Expansion) -> Any:
        """Bounds of ``sum_k paths[k] curve_k (jacobian_k xi)^2 / 2``, row by row."""
        count, rows = self.symbols.count, len(x.centre)
        if not count:
            return np.zeros(rows)
        parts = [(path * (self.neurons[k].bend.curve / 2), self.neurons[k].argument.jacobian)
                 for k, path in x.paths.items()]  # fmt: skip
        if count > _SPECTRAL:
            # the Frobenius norm of sum_i c_i J_i J_i^T is c^T G c with G_ij = (J_i . J_j)^2
            weights = np.concatenate([part for part, _ in parts], axis=1)
            stacked = np.concatenate([jacobian for _, jacobian in parts])
            gram = (stacked @ stacked.T) ** 2
            off = 2.0**-36 * (np.abs(stacked) @ np.abs(stacked).T) ** 2
            square = np.sum((weights @ gram) * weights, axis=1)
            moduli = np.abs(weights)
            square = square + np.sum((moduli @ (off + 2.0**-36 * gram)) * moduli, axis=1)
            return raised(np.sqrt(np.maximum(square, 0.0)) * self.symbols.length**2, 64)
        found = np.zeros(rows)
        step = max(1, _CHUNK // max(count * max(len(j) for _, j in parts), 1))
        for start in range(0, rows, step):
            here = slice(start, start + step)
            matrix, moduli = np.zeros((1, count, count)), np.zeros((1, count, count))
            for part, jacobian in parts:
                scaled = part[here, :, None] * jacobian
                matrix = matrix + np.matmul(jacobian.T, scaled)
                moduli = moduli + np.matmul(np.abs(jacobian).T, np.abs(scaled))
            found[here] = _norms(matrix, allowance(moduli, 2 * _MOST)) * self.symbols.length**2
        return raised(found, 16)


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


def _up(x: float) -> float:
    """Above a sum of at most _MOST numbers >= 0."""
    return float(raised(np.float64(x), _MOST))
