"""How far the network with replaced activations is from the original, on a box of inputs.

THEORY.md, Theorem Differential propagation.  With z and z' the values at a node in the original and
in the new network and d = z' - z, a site gives ``kappa(z') - sigma(z) = s d - e(z')``, with s the
slope of a secant of sigma and e = sigma - kappa.  The errors e of all sites reach an output through
products of weights and slopes.  Those products are propagated backwards as linear forms in the
input (:mod:`forms`), so that what cancels in the sums over neurons cancels in the bound too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from jaxbarron.bounds.networks.adjoints import (
    Adjoint,
    contracted,
    joined,
    seed,
    through_map,
    through_slopes,
    without_centre,
)
from jaxbarron.bounds.networks.cells import FARTHEST
from jaxbarron.bounds.networks.forms import (
    Form,
    add,
    affine,
    form_of,
    interval,
    joint_group,
    multiply,
    shortened,
    total,
)
from jaxbarron.bounds.networks.graph import (
    Affine,
    Constant,
    Elementwise,
    Input,
    Network,
    Node,
    Product,
)
from jaxbarron.bounds.networks.relaxations import Lines, enclosing_lines
from jaxbarron.bounds.networks.rounding import allowance, raised

__all__ = ["Analysis", "Difference", "Split", "Unbounded", "difference"]

_MOST_SYMBOLS = 4096  # of the values' forms; what is beyond goes into the radius
_BUDGET = 1 << 23  # doubles in one array of an adjoint


class Unbounded(Exception):
    """No finite bound was found at a node; the text names it."""


@dataclass(frozen=True, eq=False)
class Difference:
    """``lower <= new - original <= upper``, for each number of a node, on the whole box.

    Attributes:
        lower: shape (n,).
        upper: shape (n,).
        by_site: for each site its own part of the larger of both moduli, shape (sites, n): what
            the bound would be if the error of this site alone reached the output.
    """

    lower: Any
    upper: Any
    by_site: Any


@dataclass(frozen=True, eq=False)
class Split:
    """``new - original`` is ``-sum_k <centres[k], e_k(z'_k)>`` up to ``rest``, row by row.

    ``centres``: for each node with an error the weights (rows, n), exact doubles.
    """

    centres: Mapping[int, Any]
    rest: Any  # (rows,)


@dataclass(frozen=True, eq=False)
class _Local:
    """What a step does to differences: the slopes that they are multiplied by, and its error.

    ``errors`` are enclosures of one error: the better one is chosen for each sum.
    """

    slopes: tuple[Form, ...]
    errors: tuple[Form, ...] = ()


def difference(network: Network, node: int, box: Form, symbols: int | None = None) -> Difference:
    """Bounds on new minus original at a node, for all inputs in the box.

    Args:
        network: the graph.
        node: index of the node.
        box: the form of the input, see :mod:`jaxbarron.bounds.networks.regions`.
        symbols: how many symbols the backward forms may keep; None: as many as memory allows.
            0 is interval arithmetic with the weights' products.

    Raises:
        Unbounded: some value or derivative on the way has no finite bound.
    """
    return Analysis(network, box, symbols).difference(node)


class Analysis:
    """One network on one box; values are bounded once, in the order of the computation."""

    def __init__(self, network: Network, box: Form, symbols: int | None = None) -> None:
        self.network = network
        self.box = box
        self.symbols = symbols
        self._values: list[Form | None] = [None] * len(network.nodes)
        self._ranges: dict[int, tuple[Any, Any]] = {}
        self._plain: dict[int, tuple[Any, Any]] = {}
        self._locals: dict[int, _Local] = {}
        self._active = _differing(network)
        self._done = 0

    def value(self, node: int) -> Form:
        """The original network's values at a node."""
        # What is not finite becomes NaN, which no test below lets pass.
        with np.errstate(invalid="ignore", over="ignore"):
            while self._done <= node:
                self._values[self._done] = self._forward(self._done)
                self._ranges[self._done] = self._range(self._done)
                self._done += 1
        form = self._values[node]
        assert form is not None
        return form

    def difference(self, node: int, sums: Any = None) -> Difference:
        """New minus original at a node; of the numbers, or of sums over them.

        Args:
            node: index of the node.
            sums: their weights, a sparse array (sums, n) of exact doubles; None: each number.
        """
        self.value(node)
        size = self.network.nodes[node].size
        count = size if sums is None else sums.shape[0]
        if not (self._active[node] and count):
            zero = np.zeros(count)
            return Difference(zero, zero, np.zeros((len(self.network.sites), count)))
        sums = scipy.sparse.eye_array(size, format="csr") if sums is None else sums.tocsr()
        parts: list[Difference] = []
        step = self._rows(node)
        with np.errstate(invalid="ignore", over="ignore"):
            for start in range(0, count, step):
                parts.append(self._backward(node, sums[start : start + step].toarray()))
        return Difference(
            np.concatenate([x.lower for x in parts]),
            np.concatenate([x.upper for x in parts]),
            np.concatenate([x.by_site for x in parts], axis=1),
        )

    def split(self, node: int, sums: Any) -> Split:
        """The centres of all coefficients at a node, and what the others add to the difference.

        Args:
            node: index of the node.
            sums: weights (rows, n), a sparse array of exact doubles.
        """
        self.value(node)
        centres: dict[int, list[Any]] = {}
        rests: list[Any] = []
        step = self._rows(node)
        with np.errstate(invalid="ignore", over="ignore"):
            for start in range(0, sums.shape[0], step):
                here: dict[int, Any] = {}
                rows = sums[start : start + step].toarray()
                found = self._backward(node, rows, here)
                rests.append(np.maximum(np.abs(found.lower), np.abs(found.upper)))
                for k, centre in here.items():
                    centres.setdefault(k, []).append(centre)
        return Split({k: np.concatenate(x) for k, x in centres.items()}, np.concatenate(rests))

    def span(self, node: int) -> tuple[Any, Any]:
        """Lower and upper bounds of the original network's values at a node."""
        self.value(node)
        return self._ranges[node]

    # --------------------------------------------------------------- forward

    def _forward(self, index: int) -> Form:
        node = self.network.nodes[index]
        if isinstance(node, Input):
            return self.box
        if isinstance(node, Constant):
            return form_of(node.centre, np.zeros((0, node.size)), node.radius)
        if isinstance(node, Affine):
            terms = [(linear, self._form(k)) for k, linear in node.terms]
            return affine(terms, node.bias, node.bias_radius)
        if isinstance(node, Product):
            return self._product(index, node)
        return self._function(index, node)

    def _form(self, index: int) -> Form:
        form = self._values[index]
        assert form is not None
        return form

    def _range(self, index: int) -> tuple[Any, Any]:
        """The interval of a node's form, cut with what plain intervals give.

        A variance is known to be >= 0 by the function that makes it, not by its form.
        """
        low, high = interval(self._form(index))
        node = self.network.nodes[index]
        if isinstance(node, Affine):
            middle, half, size = node.bias, node.bias_radius, np.abs(node.bias)
            for source, linear in node.terms:
                left, right = self._ranges[source]
                centre = left / 2 + right / 2
                reach = np.maximum(right - centre, centre - left)
                middle = middle + linear.forward(centre)
                half = half + linear.modulus().forward(reach)
                size = size + linear.modulus().forward(np.abs(centre) + reach)
            terms = sum(linear.terms for _, linear in node.terms) + len(node.terms) + 4
            half = raised(raised(half, terms) + 2 * allowance(size, terms), 4)
            low, high = np.maximum(low, middle - half), np.minimum(high, middle + half)
        elif isinstance(node, Elementwise) and index in self._plain:
            low = np.maximum(low, self._plain[index][0])
            high = np.minimum(high, self._plain[index][1])
        return low, high

    def _product(self, index: int, node: Product) -> Form:
        left, right = self._form(node.left), self._form(node.right)
        # a'b' - ab = (a' - a) (b + b') / 2 + (b' - b) (a + a') / 2
        slopes: list[Form] = []
        for other, at in ((right, node.right), (left, node.left)):
            widened = other
            if self._active[at]:
                found = self.difference(at)
                half = np.maximum(np.abs(found.lower), np.abs(found.upper)) / 2
                widened = _widened(other, half)
            slopes.append(widened)
        self._locals[index] = _Local(tuple(slopes))
        return multiply(left, right)

    def _function(self, index: int, node: Elementwise) -> Form:
        form = self._form(node.source)
        lower, upper = self._ranges[node.source]
        sunk = upper < node.floor
        # Where the function has vanished its argument may be anything: lines there are level.
        ends = np.where(sunk, node.floor, lower), np.where(sunk, node.floor, upper)
        lower, upper = self._checked(ends, node)
        moved = self.difference(node.source)
        gap = np.maximum(np.abs(moved.lower), np.abs(moved.upper))
        far = raised(np.maximum(np.abs(lower), np.abs(upper)) + gap, 2)
        self._checked((-far, far), node)
        spread = allowance(np.abs(lower) + np.abs(upper) + gap, 4)
        shifted = lower + moved.lower - spread, upper + moved.upper + spread
        hull = np.minimum(lower, shifted[0]), np.maximum(upper, shifted[1])
        values, derivative, error = node.cells.tables(float(hull[0].min()), float(hull[1].max()))
        if not np.isfinite(node.cells.jumps):
            raise Unbounded(f"{node.name}: no proof that its function is continuous on the range")
        lines = enclosing_lines(values, lower, upper, level=sunk)
        lines = self._finite(lines, node, "value")
        plain = enclosing_lines(values, lower, upper, level=np.ones_like(sunk))
        half = raised(plain.radius + allowance(np.abs(plain.offset) + plain.radius, 4), 4)
        self._plain[index] = plain.offset - half, plain.offset + half
        if self._active[index]:
            slope: tuple[Form, ...] = ()
            if self._active[node.source]:
                tangents = enclosing_lines(derivative, *hull, level=sunk)
                slope = (_on_line(self._finite(tangents, node, "derivative"), form, gap / 2),)
            errors: list[Form] = []
            extra = np.full(node.size, raised(node.cells.jumps, 2) if node.cells.jumps else 0.0)
            if error is not None:
                for level in (sunk, np.ones_like(sunk)):
                    away = enclosing_lines(error, *shifted, level=level)
                    found = _on_line(self._finite(away, node, "error"), form, gap)
                    errors.append(_widened(found, extra))
            elif node.cells.jumps:
                zero = form_of(np.zeros(node.size), np.zeros((0, node.size)), extra)
                errors.append(zero)
            self._locals[index] = _Local(slope, tuple(errors))
        return self._with_symbols(lines, form)

    def _checked(self, ends: tuple[Any, Any], node: Elementwise) -> tuple[Any, Any]:
        lower, upper = ends
        if not (np.all(lower > -FARTHEST) and np.all(upper < FARTHEST)):
            raise Unbounded(f"{node.name}: the range of its argument leaves +-{FARTHEST:g}")
        return lower, upper

    def _finite(self, lines: Lines, node: Elementwise, what: str) -> Lines:
        if not np.isfinite(lines.radius).all():
            raise Unbounded(f"{node.name}: no finite bound of its {what} on the range")
        return lines

    def _with_symbols(self, lines: Lines, form: Form) -> Form:
        """The function's value: along its line, and a new symbol for each number."""
        along = _on_line(Lines(lines.slope, lines.offset, np.zeros_like(lines.radius)), form, 0.0)
        bent = np.flatnonzero(lines.radius > 0)
        known = self._symbols_so_far()
        if known + len(bent) > _MOST_SYMBOLS:
            radius = raised(along.radius + lines.radius, 2)
            return form_of(along.centre, along.slopes, radius, group=form.group)
        slopes = np.zeros((known + len(bent), len(lines.radius)))
        slopes[: along.symbols] = along.slopes
        slopes[known + np.arange(len(bent)), bent] = lines.radius[bent]
        return form_of(along.centre, slopes, along.radius, group=form.group)

    def _symbols_so_far(self) -> int:
        return max((form.symbols for form in self._values if form is not None), default=0)

    # -------------------------------------------------------------- backward

    def _kept(self, node: int) -> int:
        """Symbols that a backward form may keep."""
        known = self._symbols_so_far()
        if self.symbols is not None:
            return min(known, self.symbols)
        largest = max(self.network.nodes[k].size for k in range(node + 1))
        return min(known, max(_BUDGET // (16 * largest), 0))

    def _rows(self, node: int) -> int:
        largest = max(self.network.nodes[k].size for k in range(node + 1))
        return max(1, _BUDGET // (largest * (1 + self._kept(node))))

    def _backward(self, node: int, weights: Any, centres: Any = None) -> Difference:
        """The difference; if ``centres`` is a dictionary they are put there and left out."""
        rows, kept = len(weights), self._kept(node)
        adjoints = {node: seed(weights)}
        sums: dict[int, Form] = {}

        def give(at: int, adjoint: Adjoint) -> None:
            adjoints[at] = joined(adjoints[at], adjoint) if at in adjoints else adjoint

        for index in range(node, -1, -1):
            if index not in adjoints:
                continue
            adjoint, here = adjoints.pop(index), self.network.nodes[index]
            if isinstance(here, Affine):
                for source, linear in here.terms:
                    if self._active[source]:
                        size = self.network.nodes[source].size
                        give(source, through_map(adjoint, linear, size))
            elif isinstance(here, Product | Elementwise):
                local = self._locals[index]
                for side, (source, slope) in enumerate(
                    zip(_sources(here), local.slopes, strict=False)
                ):
                    if self._active[source]:
                        slope = shortened(slope, kept)
                        give(source, through_slopes(adjoint, slope, 2 * index + side))
                if local.errors:
                    assert isinstance(here, Elementwise)
                    if centres is not None:
                        centres[index] = adjoint.form.centre
                        adjoint = without_centre(adjoint)
                    parts = [contracted(adjoint, shortened(x, kept)) for x in local.errors]
                    part = parts[0] if len(parts) == 1 else _smaller(*parts)
                    place = -1 if here.site is None else here.site
                    sums[place] = add(sums[place], part) if place in sums else part
        return self._gathered(sums, rows)

    def _gathered(self, sums: dict[int, Form], rows: int) -> Difference:
        by_site = np.zeros((len(self.network.sites), rows))
        zero = np.zeros(rows)
        whole = form_of(zero, np.zeros((0, rows)), zero)
        for site, part in sums.items():
            whole = add(whole, part)
            if site >= 0:
                by_site[site] = raised(np.abs(part.centre) + total(part) + part.radius, 4)
        low, high = interval(whole)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise Unbounded("the bound of the difference is not finite")
        return Difference(-high, -low, by_site)  # the sums are of e, the difference is of -e


def _on_line(lines: Lines, form: Form, gap: Any) -> Form:
    """``slope v + offset`` up to the radius, v within ``gap`` of the form."""
    slopes = form.slopes * lines.slope
    sizes = np.abs(lines.slope)
    magnitude = sizes * (np.abs(form.centre) + total(form)) + np.abs(lines.offset)
    radius = sizes * (form.radius + gap) + lines.radius
    radius = raised(raised(radius, 4) + allowance(magnitude, 4), 2)
    centre = lines.slope * form.centre + lines.offset
    return form_of(centre, slopes, radius, group=form.group)


def _widened(form: Form, by: Any) -> Form:
    """The same with larger radii."""
    return form_of(form.centre, form.slopes, raised(form.radius + by, 2), group=form.group)


def _smaller(first: Form, second: Form) -> Form:
    """Of two enclosures, number by number, the one that bounds the modulus better."""
    sizes = [np.abs(x.centre) + total(x) + x.radius for x in (first, second)]
    better = sizes[0] <= sizes[1]
    symbols = max(first.symbols, second.symbols)
    slopes = np.zeros((symbols, len(better)))
    slopes[: first.symbols, better] = first.slopes[:, better]
    slopes[: second.symbols, ~better] = second.slopes[:, ~better]
    centre = np.where(better, first.centre, second.centre)
    radius = np.where(better, first.radius, second.radius)
    return form_of(centre, slopes, radius, group=joint_group(first, second))


def _sources(node: Node) -> tuple[int, ...]:
    if isinstance(node, Affine):
        return tuple(k for k, _ in node.terms)
    if isinstance(node, Product):
        return node.left, node.right
    return (node.source,) if isinstance(node, Elementwise) else ()


def _differing(network: Network) -> list[bool]:
    """Which nodes hold other values in the new network than in the original."""
    active: list[bool] = []
    for node in network.nodes:
        replaced = isinstance(node, Elementwise) and node.cells.pair.kernel is not None
        active.append(replaced or any(active[k] for k in _sources(node)))
    return active
