"""What the report says, as data: no text of a table, no picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jaxbarron.report.statistics import Interval
from jaxbarron.switching.validate import LatencyRatio

__all__ = [
    "Back",
    "Candidate",
    "Certified",
    "Density",
    "Equivalence",
    "Failure",
    "FineTuning",
    "Group",
    "Kept",
    "Kind",
    "Range",
    "ReportVerdict",
    "SiteReport",
    "Sparsity",
    "SwitchReport",
    "Thresholds",
    "ToolAnswer",
    "Training",
    "WorstInput",
    "Worth",
]

Kind = Literal["kernel switch", "plain replacement"]


@dataclass(frozen=True)
class Failure:
    """A part of the report that could not be made, and why."""

    part: str
    reason: str


# ------------------------------------------------------------------ 1. does it keep what it can do?


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


# ------------------------------------------------------------------ 2. what does fine-tuning cost?


@dataclass(frozen=True)
class Back:
    """When a candidate is back within the tolerance of the sham switch.

    Attributes:
        kind: ``"at once"``: before any step; ``"measured"``: within the run; ``"extrapolated"``:
            beyond it; ``"not in sight"``: the excess does not fall.
        steps: steps of the optimiser; the upper end is infinite where none is in sight.
        examples: the same in examples.
        flops: the same in floating-point operations; None where XLA counts none.
        seconds: the same in seconds of this machine.
    """

    kind: Literal["at once", "measured", "extrapolated", "not in sight"]
    steps: Interval
    examples: Interval
    flops: Interval | None
    seconds: Interval


@dataclass(frozen=True)
class FineTuning:
    """A short run of one candidate beside the sham switch.

    Attributes:
        steps: after how many steps the losses were taken.
        loss: the candidate's loss on the held-out examples.
        sham: that of the unchanged model after the same training.
        excess: their difference.
        excess_spread: 5 % and 95 % points of the difference, by the bootstrap of the examples.
        metric: at the end of the run.
        sham_metric: the sham's at the end.
        seconds_per_step: measured, compilation excluded.
        flops_per_step: counted by XLA.
        back: when it is within the tolerance.
    """

    steps: tuple[int, ...]
    loss: tuple[float, ...]
    sham: tuple[float, ...]
    excess: tuple[float, ...]
    excess_spread: tuple[tuple[float, float], ...]
    metric: float
    sham_metric: float
    seconds_per_step: float
    flops_per_step: float | None
    back: Back


@dataclass(frozen=True)
class Training:
    """How all candidates and the sham were trained.

    Attributes:
        loss: its name.
        optimiser: in words.
        batch: examples a step.
        steps: of each run.
        examples: how many there are to train on.
        held_out: how many the loss is measured on.
        split: where both come from.
        trained: how many numbers training may change.
        tolerance: how much the loss may exceed the sham's.
        flops: how they were counted.
    """

    loss: str
    optimiser: str
    batch: int
    steps: int
    examples: int
    held_out: int
    split: str
    trained: int
    tolerance: float
    flops: str


# ------------------------------------------------------------------ 3. is it worth it?


@dataclass(frozen=True)
class Sparsity:
    """The share of exact zeros among the outputs of the switched sites."""

    before: float
    after: float


@dataclass(frozen=True)
class ToolAnswer:
    """Whether the activations of the result stand in a tool's way.

    Attributes:
        tool: a kind of tool.
        before: its answer to the model: ``"yes"``, ``"no"``, ``"by hand"`` or an operator set.
        after: its answer to the result.
        reason: the rule that gave the answer.
    """

    tool: str
    before: str
    after: str
    reason: str


@dataclass(frozen=True)
class Worth:
    """The third question, of one candidate.

    Attributes:
        latency: measured warm and in alternation.
        batch: how many examples a call had.
        flops: of one call, before and after, as XLA counts them; None where it counts none.
        memory: bytes of temporaries and outputs of one call, before and after.
        parameters: numbers in the model, before and after (a kernel's numbers count once a site).
        sparsity: None where the sites could not be recorded.
        tools: which accept the result.
    """

    latency: LatencyRatio
    batch: int
    flops: tuple[float, float] | None
    memory: tuple[int, int] | None
    parameters: tuple[int, int]
    sparsity: Sparsity | None
    tools: tuple[ToolAnswer, ...]


@dataclass(frozen=True)
class Candidate:
    """One way to change the activation.

    Attributes:
        name: short.
        kind: a kernel switch keeps the function; a plain replacement changes it.
        words: what stands at each site.
        particles: the largest number at a site.
        certified: the largest certified error of a site; None where a kernel has no certificate.
        level: the weakest level of the certificates.
        holds_on: where the certificate of that site holds.
        observed: the largest change of an output on the data, before any training.
        metric: before any training.
        lost: by how much the metric is worse, before any training.
        finetuning: None where it was not run, or failed.
        worth: None where it failed.
        on_front: whether no other candidate is better in one of change, latency and training, and
            at least as good in the others.
        verdict: what follows for it.
    """

    name: str
    kind: Kind
    words: str
    particles: int
    certified: float | None
    level: str
    holds_on: str
    observed: float
    metric: float
    lost: float
    finetuning: FineTuning | None
    worth: Worth | None
    on_front: bool
    verdict: ReportVerdict


# ------------------------------------------------------------------ the whole


@dataclass(frozen=True)
class Thresholds:
    """What the verdict's rule compares with; all can be set.

    Attributes:
        max_loss: how much worse the metric may get, in its own unit; None: 0.005 for accuracy,
            1 % of the value before for another metric.
        max_latency: the largest latency ratio that goes without a remark.
        max_steps: the largest budget of fine-tuning, in steps.
        tolerance: how much the loss may exceed the sham's; None: 0.01 for the cross-entropy (a
            factor of 1.01 in the likelihood of an example), 5 % of the model's loss for another.
    """

    max_loss: float | None = None
    max_latency: float = 1.1
    max_steps: int = 10_000
    tolerance: float | None = None


@dataclass(frozen=True)
class ReportVerdict:
    """What follows, in words.

    Attributes:
        outcome: ``"safe as it is"``, ``"fine-tune"`` or ``"do not switch"``.
        text: one sentence, with the budget.
        rule: the rule that led to it, with its thresholds.
    """

    outcome: Literal["safe as it is", "fine-tune", "do not switch"]
    text: str
    rule: str


@dataclass(frozen=True)
class SwitchReport:
    """The three questions about one switch, answered.

    Attributes:
        subject: what was switched.
        rules: from what to what.
        target: the target's name.
        asked: how near, in words.
        kept: the first question.
        training: how fine-tuning was measured; None where it was not.
        candidates: the second and third question, candidate by candidate; the first is what was
            asked for.
        verdict: of the first candidate.
        thresholds: of the rule.
        failures: parts that could not be made, and why.
        unavailable: candidates that are not to be had, and why.
        seed: of all that is drawn.
        device: where it was measured.
        seconds: how long the report took.
        versions: of the libraries.
    """

    subject: str
    rules: str
    target: str
    asked: str
    kept: Kept
    training: Training | None
    candidates: tuple[Candidate, ...]
    verdict: ReportVerdict
    thresholds: Thresholds
    failures: tuple[Failure, ...]
    unavailable: tuple[Failure, ...]
    seed: int
    device: str
    seconds: float
    versions: dict[str, str] = field(default_factory=dict[str, str])
