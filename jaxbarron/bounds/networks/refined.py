"""Bounds of a difference made smaller by parabolas, and the multipliers that prove it.

THEORY.md, Theorem Joint parabolas.  What comes out is an intersection of two true bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from jaxbarron.bounds.networks.differential import Analysis, Difference, Unbounded
from jaxbarron.bounds.networks.joint import Joint, Multipliers
from jaxbarron.bounds.networks.multipliers import LARGEST, best_multipliers
from jaxbarron.bounds.networks.parabolas import row_of, second_order, upper_bound

__all__ = ["Parabolas", "Refiner", "refiner_of"]


@dataclass(frozen=True, eq=False)
class Parabolas:
    """For each number of an output, from above (0) and from below (1), its multipliers.

    Attributes:
        linear: shape (numbers, 2, neurons), the neurons of all replaced functions in order.
        quadratic: the same shape.
        weights: > 0, shape (numbers, 2, symbols of the region).
        adjoint: whether the coefficients are those of the backward forms; shape (numbers,).
    """

    linear: Any
    quadratic: Any
    weights: Any
    adjoint: Any


class Refiner:
    """One analysis and its joint bounds.

    Raises:
        Unbounded: the network has no joint bound (a product, too many neurons).
    """

    def __init__(self, analysis: Analysis) -> None:
        self.analysis, self.joint = analysis, Joint(analysis)
        self.places: dict[int, slice] = {}
        count = 0
        for k, x in self.joint.neurons.items():
            if x.bend.errors is not None:
                self.places[k] = slice(count, count + len(x.bend.reach))
                count += len(x.bend.reach)
        self.count = count

    def found(
        self,
        node: int,
        old: Difference,
        steps: int,
        start: Parabolas | None = None,
        aim: float = 0.0,
    ) -> tuple[Difference, Parabolas]:
        """The bounds after so many steps for each number and side.

        Args:
            node: of the output.
            old: its difference, known before.
            steps: of the search.
            start: multipliers from which it starts.
            aim: sides that these multipliers bound by so much are not searched.
        """
        rows, rests, adjoint = self._rows(node, None)
        size = len(old.lower)
        linear, quadratic = np.zeros((2, size, 2, self.count))
        weights = np.ones((size, 2, self.joint.symbols.count))
        for at, row in enumerate(rows):
            for side, sign in enumerate((1.0, -1.0)):
                signed, first = _times(row, sign), None
                if start is not None and start.weights.shape == weights.shape:
                    first = self._multipliers(start, at, side)
                    known = upper_bound(self.joint, signed, first) + float(rests[at])
                    wanted = min(known, (old.upper, -old.lower)[side][at]) > aim
                else:
                    wanted = True
                best = best_multipliers(self.joint, signed, steps if wanted else 0, first)
                for k, place in self.places.items():
                    linear[at, side, place] = best.linear[k]
                    quadratic[at, side, place] = best.quadratic[k]
                weights[at, side] = best.weights
        parabolas = Parabolas(linear, quadratic, weights, adjoint)
        return self._bounded(old, rows, rests, parabolas), parabolas

    def _multipliers(self, given: Parabolas, at: int, side: int) -> Multipliers:
        return Multipliers(
            {k: given.linear[at, side, x] for k, x in self.places.items()},
            {k: given.quadratic[at, side, x] for k, x in self.places.items()},
            given.weights[at, side],
        )

    def checked(self, node: int, old: Difference, given: Parabolas) -> Difference:
        """The bounds that these multipliers prove.

        Raises:
            ValueError: they are no multipliers of this network.
        """
        size, symbols = len(old.lower), self.joint.symbols.count
        shapes = [(size, 2, self.count), (size, 2, self.count), (size, 2, symbols), (size,)]
        arrays = (given.linear, given.quadratic, given.weights, given.adjoint)
        fits = all(x.shape == shape for x, shape in zip(arrays, shapes, strict=True))
        doubles = all(x.dtype == np.float64 for x in arrays[:3]) and given.adjoint.dtype == bool
        if not (fits and doubles and all(np.all(np.abs(x) <= LARGEST) for x in arrays[:3])):
            raise ValueError("multipliers of another shape than the network, or not finite")
        if not np.all(given.weights >= 1 / LARGEST):
            raise ValueError("weights of the symbols that are not positive")
        rows, rests, _ = self._rows(node, given.adjoint)
        return self._bounded(old, rows, rests, given)

    def _rows(self, node: int, adjoint: Any) -> tuple[list[Mapping[int, Any]], Any, Any]:
        """The coefficients of the errors, what the others add, and which were taken."""
        size = self.analysis.network.nodes[node].size
        sums = scipy.sparse.eye_array(size, format="csr")
        expansion = row_of(self.joint, node, sums)
        split = self.analysis.split(node, sums)
        rows: list[Mapping[int, Any]] = []
        rests, chosen = np.zeros(size), np.zeros(size, bool)
        for at in range(size):
            forward = {k: path[at] for k, path in expansion.paths.items()}
            rest = second_order(self.joint, forward, float(expansion.noise[at]))
            chosen[at] = split.rest[at] < rest if adjoint is None else adjoint[at]
            if chosen[at]:
                none = {k: np.zeros(len(x.bend.reach)) for k, x in self.joint.neurons.items()}
                rows.append(none | {k: centre[at] for k, centre in split.centres.items()})
            else:
                rows.append(forward)
            rests[at] = split.rest[at] if chosen[at] else rest
        return rows, rests, chosen

    def _bounded(self, old: Difference, rows: Any, rests: Any, given: Parabolas) -> Difference:
        lower, upper = old.lower.copy(), old.upper.copy()
        for at, row in enumerate(rows):
            sides: list[float] = []
            for side, sign in enumerate((1.0, -1.0)):
                multipliers = self._multipliers(given, at, side)
                top = upper_bound(self.joint, _times(row, sign), multipliers)
                total = top + float(rests[at])
                sides.append(total + 2.0**-50 * (abs(top) + float(rests[at])))
            if all(np.isfinite(sides)):
                upper[at], lower[at] = min(upper[at], sides[0]), max(lower[at], -sides[1])
        return Difference(lower, upper, old.by_site)


def _times(row: Mapping[int, Any], sign: float) -> Mapping[int, Any]:
    return {k: sign * x for k, x in row.items()}


def refiner_of(analysis: Analysis) -> Refiner | None:
    """None where the network has no joint bound."""
    try:
        return Refiner(analysis)
    except Unbounded:
        return None
