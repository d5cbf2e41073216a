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
from jaxbarron.bounds.networks.quadratics import crossed_norms, row_norms, vector_norm
from jaxbarron.bounds.networks.rounding import raised

__all__ = ["Joint", "Multipliers", "Neurons"]

_MOST = 4096  # numbers at a node, and symbols: beyond, dense matrices are too large
_MOST_NEURONS = 8192


@dataclass(frozen=True, eq=False)
class Neurons:
    """One elementwise node, its argument about the centre, and what is proved of both networks.

    ``argument``: |zeta| and |zeta'| <= bend.reach, their Euclidean norms <= length;
    of ``zeta - jacobian xi``: <= away, norm <= drift; of zeta' - zeta: <= gap, norm <= gap_norm.
    Of the bends in both networks: norm <= bent, without ``curve (jacobian xi)^2 / 2`` norm <= odd;
    of g = y' - y - s0 (zeta' - zeta): <= change, norm <= change_norm.
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
    odd: float
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
        one = np.ones(node.size)
        drift = min(self.stray(x, one), norm_of(away))
        length = min(self.norm(x, one), norm_of(bend.reach))
        tail = norm_of(bend.rest) + norm_of(bend.error)
        odd = self._odd(x, bend, straight, away, drift) + tail
        squares = vector_norm([(np.diag(np.abs(bend.curve) / 2), x.jacobian)], self.symbols)
        bent = min(self.norm(x, bend.ratio) + tail, norm_of(bend.size), squares + odd)
        turned = self._turned(x, bend, gap, gap_norm)
        change = raised(bend.error + np.minimum(bend.steepest * gap, turned), 4)
        change_norm = min(_up(norm_of(bend.error) + turned), norm_of(change))
        return Neurons(index, x, bend, straight, away, length, drift, gap, gap_norm, _up(bent),
                       _up(min(odd, bent + squares)), change, change_norm)  # fmt: skip

    def _through(self, x: Expansion, weights: Any, what: str) -> float:
        """A bound of the norm of ``weights sum_k paths[k] v_k``, v_k the bends or the changes."""
        parts = [
            (weights[:, None] * path, getattr(self.neurons[k], what)) for k, path in x.paths.items()
        ]
        return _up(joint_norm(parts))

    def stray(self, x: Expansion, weights: Any) -> float:
        """A bound of the norm of ``weights (zeta - jacobian xi)``, in both networks; weights >= 0.

        Two, the smaller: bends as they are, or their squares together and the rest of each.
        """
        if not x.paths:
            return _up(norm_of(weights * x.noise))
        parts = [
            (weights[:, None] * path * (self.neurons[k].bend.curve / 2) * (1 + 2.0**-50),
             self.neurons[k].argument.jacobian)
            for k, path in x.paths.items()
        ]  # fmt: skip
        apart = vector_norm(parts, self.symbols) + self._through(x, weights, "odd")
        return _up(min(self._through(x, weights, "bent"), apart) + norm_of(weights * x.noise))

    def norm(self, x: Expansion, weights: Any) -> float:
        """A bound of the norm of ``weights zeta`` and of ``weights zeta'``; weights >= 0."""
        straight = cautious_norm(weights[:, None] * x.jacobian) * self.symbols.length
        return _up(straight + self.stray(x, weights))

    def _odd(self, x: Expansion, bend: Bend, straight: Any, away: Any, drift: float) -> float:
        """A bound of the norm of the bends without their squares, but for constants."""
        # zeta^2 - (jacobian xi)^2 = (zeta - jacobian xi)(zeta + jacobian xi)
        both = raised(np.abs(bend.curve) / 2 * (bend.reach + straight), 8)
        third = min(norm_of(both * away), float(np.max(both, initial=0.0)) * drift)
        rated = raised(bend.rate * bend.reach, 4)
        return third + min(norm_of(rated * bend.reach), self.norm(x, rated))

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
        return _up(min(first, self.norm(x, raised(rate * gap, 4)) + far * gap_norm))

    def _drift(self, x: Expansion) -> Any:
        """Bounds of ``|sum_k paths[k] w_k|``, entry by entry: the bends keep their signs."""
        rows = len(x.centre)
        if not x.paths:
            return np.zeros(rows)
        plain, rest = np.zeros(rows), np.zeros(rows)
        squares: list[tuple[Any, Any]] = []
        for k, path in x.paths.items():
            here, moduli = self.neurons[k], np.abs(path)
            bend, jacobian, sizes = here.bend, here.argument.jacobian, euclidean(path)
            plain = plain + np.minimum(moduli @ bend.size, sizes * here.bent)
            rated = raised(moduli * bend.rate, 4)
            flat = row_norms([(rated, jacobian)], rows, self.symbols)
            off = np.minimum(rated @ here.away**2, rated.max(axis=1, initial=0.0) * here.drift**2)
            together = flat + 2 * np.sqrt(flat * off) + off
            rest = rest + np.minimum(together, rated @ bend.reach**2)
            rest = rest + moduli @ bend.rest
            rest = rest + np.minimum(moduli @ bend.error, sizes * norm_of(bend.error))
            weights = path * (bend.curve / 2)
            squares.append((weights, jacobian))
            rest = rest + self._apart(here, raised(np.abs(weights), 4), weights)
        quadratic = row_norms(squares, rows, self.symbols)
        return np.minimum(raised(plain, _MOST), raised(quadratic + rest, _MOST))

    def _apart(self, here: Neurons, moduli: Any, weights: Any) -> Any:
        """Bounds of ``|sum_i weights_i (zeta_i^2 - (jacobian_i xi)^2)|``, row by row."""
        x, length = here.argument, self.symbols.length
        largest = moduli.max(axis=1, initial=0.0)
        # zeta^2 - (jacobian xi)^2 = (zeta - jacobian xi)(zeta + jacobian xi) ...
        entries = moduli @ (here.away * (here.bend.reach + here.straight))
        norms = largest * (here.drift * (2 * here.length + here.drift))
        least = np.minimum(entries, norms)
        # ... = 2 (jacobian xi) r + r^2, with r = sum_j paths[j] w_j up to noise
        parts = list(x.paths.items())
        crossed = crossed_norms(weights, [(path, j) for j, path in parts], x.jacobian)
        if crossed is None:
            return least
        square = np.minimum(moduli @ here.away**2, euclidean(moduli * here.away) * here.drift)
        square = np.minimum(square, largest * here.drift**2)
        total = square + 2 * (moduli @ (here.straight * x.noise))
        for (j, _), norms in zip(parts, crossed, strict=True):
            total = total + norms * (2 * length * self.neurons[j].bent * (1 + 2.0**-50))
        return np.minimum(least, total)


def _up(x: float) -> float:
    """Above a sum of at most _MOST numbers >= 0."""
    return float(raised(np.float64(x), _MOST))
