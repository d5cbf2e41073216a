"""The first question as data: what the switched model keeps of what the model can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxbarron.report.statistics import Interval

__all__ = [
    "Certified",
    "Density",
    "Equivalence",
    "Group",
    "Kept",
    "Range",
    "SiteReport",
    "WorstInput",
]


@dataclass(frozen=True)
class Range:
    """The values met, before and after; ``step`` is what one of 255 int8 steps would span."""

    before: tuple[float, float]
    after: tuple[float, float]

    @property
    def steps(self) -> tuple[float, float]:
        """One int8 step of the range, before and after."""
        (a, b), (c, d) = self.before, self.after
        return (b - a) / 255, (d - c) / 255


@dataclass(frozen=True)
class Density:
    """Pre-activations met on the data beside the kernel's error there.

    Attributes:
        edges: of the bins, ascending.
        share: of the values in each bin; those beyond the ends are not shown.
        shown: the share of all values within the ends.
        points: where the error was computed.
        error: ``kernel - activation`` at the points, in floating point.
        knots: of the kernel, within the ends.
    """

    edges: tuple[float, ...]
    share: tuple[float, ...]
    shown: float
    points: tuple[float, ...]
    error: tuple[float, ...]
    knots: tuple[float, ...]


@dataclass(frozen=True)
class SiteReport:
    """One switched site: certified against observed, on the data.

    Attributes:
        path: where in the model.
        activation: what it was.
        kernel: what it is, in words.
        certified: the bound on ``|kernel - activation|``; None where the user gave the kernel.
        holds_on: where that bound holds.
        level: of the certificate.
        observed: the largest ``|kernel - activation|`` at the pre-activations met.
        carried: the largest change of the site's output on the data, errors of earlier sites
            included.
        pre_activations: the range of what goes in.
        activations: the range of what comes out.
        zeros: the share of exact zeros that come out, before and after.
        density: pre-activations over the kernel's error.
    """

    path: str
    activation: str
    kernel: str
    certified: float | None
    holds_on: str
    level: str
    observed: float
    carried: float
    pre_activations: Range
    activations: Range
    zeros: tuple[float, float]
    density: Density


@dataclass(frozen=True)
class Group:
    """A class, or a task of the user's, on its own."""

    name: str
    examples: int
    before: float
    after: float
    lost: float


@dataclass(frozen=True)
class WorstInput:
    """An input whose outputs change most.

    Attributes:
        row: the example, or the one that the search started from.
        distance: the largest change of one of its numbers; 0 for the example itself.
        change: the largest change of an output.
        classes: predicted before and after; None where outputs are no logits.
    """

    row: int
    distance: float
    change: float
    classes: tuple[int, int] | None


@dataclass(frozen=True)
class Certified:
    """What is proved of all inputs in one box; the place of every certified change of an output.

    Attributes:
        row: the example at the box's centre.
        radius: of the box, in each number of the input.
        lower: ``after - before >= lower``, output by output.
        upper: ``after - before <= upper``.
        largest: the largest modulus among them.
        level: ``"rigorous"`` or ``"sampled"``.
        ends_at: why some output has no bound.
        margin: the class is the same wherever the original's margin exceeds this
            (THEORY.md, Theorem Margin transfer); None where outputs are no logits.
        observed: the largest change that the search found in this box.
    """

    row: int
    radius: float
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    largest: float
    level: str
    ends_at: str | None
    margin: float | None
    observed: float | None


@dataclass(frozen=True)
class Equivalence:
    """eps-, Top-1 and delta-Top-1 equivalence as observed on the data (level ``sampled``).

    Attributes:
        epsilon: the largest change of an output, on the data and found by the search.
        examples: predictions compared; 0 where outputs are no logits.
        changed: how many differ.
        changed_upper: the upper end of the exact interval for the share that differs.
        delta: every prediction whose margin before exceeds this is the same.
    """

    epsilon: float
    examples: int
    changed: int
    changed_upper: float | None
    delta: float | None


@dataclass(frozen=True)
class Kept:
    """The first question.

    Attributes:
        examples: how many.
        metric: its name.
        better: which way is better.
        before: the metric of the model, with its interval.
        after: the metric of the switched model.
        change: after - before on the same examples, with its interval.
        p_value: of McNemar's exact test, for accuracy.
        groups: classes or tasks, the worst first.
        worst_on_data: the examples whose outputs change most.
        worst_found: what gradient ascent found in boxes around them.
        radius: of those boxes; None where there was no search.
        outputs: their range.
        sites: site by site; empty where they could not be recorded.
        recorded: on how many examples they were.
        equivalence: in the field's words.
        certified: what is proved, box by box.
    """

    examples: int
    metric: str
    better: Literal["higher", "lower"]
    before: Interval
    after: Interval
    change: Interval
    p_value: float | None
    groups: tuple[Group, ...]
    worst_on_data: tuple[WorstInput, ...]
    worst_found: tuple[WorstInput, ...]
    radius: float | None
    outputs: Range
    sites: tuple[SiteReport, ...]
    recorded: int
    equivalence: Equivalence
    certified: tuple[Certified, ...]
