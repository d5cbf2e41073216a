"""The second and third question as data: no text of a table, no picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxbarron.report.statistics import Interval
from jaxbarron.switching.validate import LatencyRatio

__all__ = [
    "Back",
    "Candidate",
    "Failure",
    "FineTuning",
    "Kind",
    "ReportVerdict",
    "Sparsity",
    "Thresholds",
    "ToolAnswer",
    "Training",
    "Worth",
]

Kind = Literal["kernel switch", "plain replacement"]


@dataclass(frozen=True)
class Failure:
    """A part of the report that could not be made, and why."""

    part: str
    reason: str


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
