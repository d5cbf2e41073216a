"""The bound on a network's outputs, as one result: how much they can change on a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jaxbarron.bounds.networks.classes import Classes, classes_of
from jaxbarron.bounds.networks.differential import Analysis, Difference, Unbounded
from jaxbarron.bounds.networks.floating import EvaluationError
from jaxbarron.bounds.networks.graph import Network
from jaxbarron.bounds.networks.leaves import Branches
from jaxbarron.bounds.networks.refined import Parabolas, refiner_of
from jaxbarron.bounds.networks.regions import Region, region_form
from jaxbarron.errors import UsageError

__all__ = ["DifferenceBound", "analysed_difference", "network_difference", "propagated"]


@dataclass(frozen=True, eq=False)
class DifferenceBound:
    """``lower <= new(x) - original(x) <= upper``, number by number, for every x in a region.

    Attributes:
        lower: an array for each output of the function (its leaves, in order); -inf where nothing
            was proved.
        upper: the same, inf where nothing was proved.
        level: ``"rigorous"`` if every output is bounded, else ``"sampled"``: what is beyond
            ``ends_at`` can only be observed.
        ends_at: why some output has no bound; None if all have one.
        by_site: for each switched site its path and the largest change, over all outputs, that its
            own error can make.
        classes: what is certified of the largest output along the last axis of the first output;
            None where it was not asked for, or not bounded.
        parabolas: for each output the multipliers of its joint bound; None where there is none, or
            it was not asked for.
        evaluation: the errors of evaluating the original and the new network in floating point;
            None where they were not asked for.
        branches: the parts in which the region was cut; None where it was not.
    """

    lower: tuple[Any, ...]
    upper: tuple[Any, ...]
    level: Literal["rigorous", "sampled"]
    ends_at: str | None
    by_site: tuple[tuple[str, float], ...]
    classes: Classes | None = None
    parabolas: tuple[Parabolas | None, ...] | None = None
    evaluation: tuple[EvaluationError, EvaluationError] | None = None
    branches: Branches | None = None

    @property
    def largest(self) -> float:
        """The largest change of any output: the networks are eps-equivalent with this eps."""
        ends = [np.max(np.abs(x), initial=0.0) for x in (*self.lower, *self.upper)]
        return float(max(ends, default=0.0))

    @property
    def largest_evaluated(self) -> float:
        """The largest difference of two evaluations: real change and both errors together.

        inf where the errors were not asked for.
        """
        if self.evaluation is None:
            return float("inf")
        return (self.largest + sum(x.largest for x in self.evaluation)) * (1 + 2.0**-40)


def network_difference(
    network: Network,
    region: Region,
    *,
    symbols: int | None = None,
    classes: bool = False,
    joint: int = 0,
    parabolas: Sequence[Parabolas | None] | None = None,
) -> DifferenceBound:
    """The bound on all outputs of a network (THEORY.md, Theorem Differential propagation).

    With ``joint`` it is intersected with that of Theorem Joint parabolas, where the network has
    one: affine maps and elementwise functions, no products.

    Args:
        network: from :func:`jaxbarron.bounds.networks.reading.network_of`.
        region: of the input, flat.
        symbols: how many symbols the backward forms keep; None: as many as memory allows.
        classes: bound margins too (THEORY.md, Theorem Class margin); not by parabolas.
        joint: steps in search of parabolas, for each number of the outputs and each side.
        parabolas: instead: those found before, one for each output.

    Raises:
        ShapeError: the region has not as many coordinates as the input has numbers.
        UsageError: ``joint`` is negative.
        ValueError: ``parabolas`` are not those of this network.
    """
    return analysed_difference(
        network, region, symbols=symbols, classes=classes, joint=joint, parabolas=parabolas
    )[0]


def analysed_difference(
    network: Network,
    region: Region,
    *,
    symbols: int | None = None,
    classes: bool = False,
    joint: int = 0,
    parabolas: Sequence[Parabolas | None] | None = None,
    aim: float = 0.0,
) -> tuple[DifferenceBound, Analysis]:
    """The same, with the analysis that it comes from.

    With both ``joint`` and ``parabolas`` the search starts there; it leaves out the sides that are
    bounded by ``aim`` already.
    """
    if joint < 0:
        raise UsageError(
            f"given: joint={joint}; expected: a number of steps >= 0; do: e.g. joint=150"
        )
    analysis = Analysis(network, region_form(region, network.nodes[0].size), symbols)
    differences, ends_at = _propagated(analysis)
    found_parabolas = None
    if joint > 0 or parabolas is not None:
        differences, found_parabolas = _refined(analysis, differences, joint, parabolas, aim)
    shapes = [() if x is None else x[1] for x in network.outputs]
    by_site = np.zeros(len(network.sites))
    lower: list[Any] = []
    upper: list[Any] = []
    for found, shape in zip(differences, shapes, strict=True):
        low, high = (-np.inf, np.inf) if found is None else (found.lower, found.upper)
        lower.append(np.broadcast_to(low, int(np.prod(shape))).reshape(shape))
        upper.append(np.broadcast_to(high, int(np.prod(shape))).reshape(shape))
        if found is not None:
            by_site = np.maximum(by_site, found.by_site.max(axis=1, initial=0.0))
    bound = DifferenceBound(
        tuple(lower),
        tuple(upper),
        "rigorous" if ends_at is None else "sampled",
        ends_at,
        tuple((site.path, float(part)) for site, part in zip(network.sites, by_site, strict=True)
              if site.pair.kernel is not None),
        _classes(analysis, network) if classes else None,
        found_parabolas,
    )  # fmt: skip
    return bound, analysis


def _refined(
    analysis: Analysis,
    differences: Sequence[Difference | None],
    steps: int,
    given: Sequence[Parabolas | None] | None,
    aim: float,
) -> tuple[list[Difference | None], tuple[Parabolas | None, ...]]:
    """The differences with joint bounds, and their multipliers."""
    refiner = refiner_of(analysis)
    refined = list(differences)
    places = enumerate(zip(analysis.network.outputs, differences, strict=True))
    if given is not None and len(given) != len(differences):
        raise ValueError("parabolas of another number of outputs")
    result: list[Parabolas | None] = [None] * len(differences)
    for at, (output, old) in places:
        wanted = steps > 0 or (given is not None and given[at] is not None)
        if output is None or old is None or not wanted:
            continue
        if refiner is None:
            if not steps:
                raise ValueError("parabolas of a network that has no joint bound")
            continue
        here = None if given is None else given[at]
        if steps:
            refined[at], result[at] = refiner.found(output[0], old, steps, here, aim)
        else:
            assert here is not None
            refined[at], result[at] = refiner.checked(output[0], old, here), here
    return refined, tuple(result)


def propagated(network: Network, region: Region) -> tuple[list[Difference], str | None]:
    """The differences of the outputs that have a bound, and why some other has none."""
    analysis = Analysis(network, region_form(region, network.nodes[0].size))
    differences, ends_at = _propagated(analysis)
    return [x for x in differences if x is not None], ends_at


def _propagated(analysis: Analysis) -> tuple[list[Difference | None], str | None]:
    """For each output its difference, or None; and why, where one has none."""
    ends_at = analysis.network.ends_at
    found: list[Difference | None] = []
    for output in analysis.network.outputs:
        try:
            found.append(None if output is None else analysis.difference(output[0]))
        except Unbounded as reason:
            ends_at = ends_at or str(reason)
            found.append(None)
    return found, ends_at


def _classes(analysis: Analysis, network: Network) -> Classes | None:
    output = network.outputs[0] if network.outputs else None
    if output is None or not output[1]:
        return None
    try:
        return classes_of(analysis, *output)
    except Unbounded:
        return None
