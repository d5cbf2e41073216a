"""Branch and bound over the input: the region in parts, each with a bound of its own.

THEORY.md, Theorem Branching.  What bends is of second order in the width of a part.  The part with
the largest bound is cut next, across the coordinate along which the arguments move most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxbarron.bounds.networks.bound import DifferenceBound, analysed_difference
from jaxbarron.bounds.networks.classes import Classes
from jaxbarron.bounds.networks.differential import Analysis, Unbounded
from jaxbarron.bounds.networks.graph import Elementwise, Network
from jaxbarron.bounds.networks.leaves import Branches, boxes_of, enclosing_box, misses
from jaxbarron.bounds.networks.regions import Region
from jaxbarron.domains import Box
from jaxbarron.errors import UsageError

__all__ = ["branched_difference", "rebranched_difference"]

Progress = Callable[[int, int], None]
_WORTH = 0.5  # of the largest bound of all parts: below, a side is not searched again


def _no_progress(done: int, total: int) -> None:
    del done, total


@dataclass(frozen=True, eq=False)
class _Part:
    lower: Any
    upper: Any
    bound: DifferenceBound | None  # None: it has no point of the region
    axis: int
    largest: float


def branched_difference(
    network: Network,
    region: Region,
    branches: int,
    *,
    classes: bool = False,
    joint: int = 0,
    progress: Progress = _no_progress,
) -> DifferenceBound:
    """The bound on all outputs, over at most ``branches`` parts of the region.

    Args:
        network: as for :func:`jaxbarron.bounds.networks.bound.network_difference`; so are
            ``region``, ``classes`` and ``joint``.
        branches: how many parts, at most; 1: the region as a whole.
        progress: given (parts, parts wanted) after each cut.

    Raises:
        ShapeError: the region has not as many coordinates as the input has numbers.
        UsageError: ``joint`` is negative, or ``branches`` less than 1.
    """
    if branches < 1:
        raise UsageError(
            f"given: branches={branches}; expected: a number of parts >= 1; do: e.g. branches=64, "
            "or 1 to bound the region as a whole"
        )
    root, analysis = analysed_difference(network, region, classes=classes, joint=joint)
    lower, upper = enclosing_box(region)
    parts = [_Part(lower, upper, root, _axis(analysis, lower, upper), root.largest)]
    leaf: list[int] = []
    axis: list[int] = []
    place: list[float] = []
    while len(parts) < branches:
        sizes = [x.largest for x in parts]
        at = int(np.argmax(sizes))
        old = parts[at]
        low, high = old.lower[old.axis], old.upper[old.axis]
        where = low / 2 + high / 2
        if not (low < where < high and old.bound is not None):
            break  # a point: there is nothing left to cut
        leaf.append(at)
        axis.append(old.axis)
        place.append(float(where))
        below, above = old.upper.copy(), old.lower.copy()
        below[old.axis] = above[old.axis] = where
        aim = _WORTH * sizes[at] if np.isfinite(sizes[at]) else 0.0
        made = [
            _part(network, region, ends, old.bound, classes, joint, aim)
            for ends in ((old.lower, below), (above, old.upper))
        ]
        parts[at] = made[0]
        parts.append(made[1])
        progress(len(parts), branches)
    if not leaf:
        return root
    proofs = [None if x.bound is None else x.bound.parabolas for x in parts]
    cuts = Branches(
        np.array(leaf, np.int64), np.array(axis, np.int64), np.array(place), tuple(proofs)
    )
    found = _together(root, [x.bound for x in parts if x.bound is not None])
    return replace(found, branches=cuts)


def rebranched_difference(
    network: Network,
    region: Region,
    branches: Branches,
    *,
    classes: bool = False,
    parabolas: Sequence[Any] | None = None,
) -> DifferenceBound:
    """The bound that these parts prove.

    Args:
        network: as above; so are ``region`` and ``classes``.
        branches: cuts, and multipliers for each part.
        parabolas: multipliers for the region as a whole.

    Raises:
        ShapeError: the region has not as many coordinates as the input has numbers.
        ValueError: the cuts or the multipliers are not of this region and network.
    """
    root, _ = analysed_difference(network, region, classes=classes, parabolas=parabolas)
    found: list[DifferenceBound] = []
    for (lower, upper), given in zip(boxes_of(region, branches), branches.parabolas, strict=True):
        if not misses(region, lower, upper):
            box = Box(lower, upper)
            found.append(analysed_difference(network, box, classes=classes, parabolas=given)[0])
    return replace(_together(root, found), branches=branches)


def _part(
    network: Network,
    region: Region,
    ends: tuple[Any, Any],
    parent: DifferenceBound,
    classes: bool,
    joint: int,
    aim: float,
) -> _Part:
    lower, upper = ends
    if misses(region, lower, upper):
        return _Part(lower, upper, None, 0, -np.inf)
    start = parent.parabolas if joint else None
    bound, analysis = analysed_difference(
        network, Box(lower, upper), classes=classes, joint=joint, parabolas=start, aim=aim
    )
    return _Part(lower, upper, bound, _axis(analysis, lower, upper), bound.largest)


def _axis(analysis: Analysis, lower: Any, upper: Any) -> int:
    """The coordinate along which the functions' arguments move most, in the mean square."""
    wide = np.flatnonzero(upper > lower)
    if not len(wide):
        return 0
    moved = np.zeros(len(wide))
    for node in analysis.network.nodes:
        if not isinstance(node, Elementwise):
            continue
        try:
            slopes = analysis.value(node.source).slopes[: len(wide)]
        except Unbounded:
            break
        with np.errstate(over="ignore", invalid="ignore"):
            moved[: len(slopes)] += np.sum(slopes**2, axis=1)
    if not (np.isfinite(moved).all() and moved.any()):
        moved = (upper - lower)[wide]
    return int(wide[np.argmax(moved)])


def _together(root: DifferenceBound, parts: Sequence[DifferenceBound]) -> DifferenceBound:
    """What holds on the whole region: the worst of all parts, or the root's bound."""
    lower, upper = list(root.lower), list(root.upper)
    for k in range(len(lower)):
        lower[k] = np.maximum(lower[k], np.minimum.reduce([x.lower[k] for x in parts]))
        upper[k] = np.minimum(upper[k], np.maximum.reduce([x.upper[k] for x in parts]))
    apart = next((x.ends_at for x in parts if x.ends_at is not None), None)
    ends_at = root.ends_at if apart is not None else None
    found = [x.classes for x in parts]
    by_site = root.by_site
    if root.ends_at is not None:  # an output that is bounded in parts alone has its shares there
        shares = zip(*(x.by_site for x in (root, *parts)), strict=True)
        by_site = tuple((x[0][0], max(part for _, part in x)) for x in shares)
    return replace(
        root,
        lower=tuple(lower),
        upper=tuple(upper),
        level="rigorous" if ends_at is None else "sampled",
        ends_at=ends_at,
        by_site=by_site,
        classes=_classes(root.classes, [x for x in found if x is not None], len(found)),
    )


def _classes(root: Classes | None, parts: Sequence[Classes], wanted: int) -> Classes | None:
    """A class that leads by delta of its part, or of the root, is the class."""
    if len(parts) < wanted or not parts:
        return root
    delta = np.maximum.reduce([x.delta for x in parts])
    possible = np.logical_or.reduce([x.possible for x in parts])
    change = np.maximum.reduce([x.change for x in parts])
    if root is None:
        return Classes(delta, possible, change)
    return Classes(
        np.minimum(delta, root.delta), possible & root.possible, np.minimum(change, root.change)
    )
