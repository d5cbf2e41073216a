"""The path between kernel and plain replacement as data: stages of fewer and fewer particles."""

from __future__ import annotations

from dataclasses import dataclass

from jaxbarron.report.data import FineTuning, ReportVerdict, Worth

__all__ = ["PATH_NAME", "KnotPath", "PathStage", "path_in_words"]

PATH_NAME = "kernel, then knots removed"


@dataclass(frozen=True)
class PathStage:
    """What was measured at the end of one stage, before the next particles were taken away.

    Attributes:
        particles: the largest number at a site.
        first_step: of the optimiser, in this stage.
        last_step: where all else was measured.
        removal: the largest root mean square, over the sites' pre-activations, of what the removal
            at the stage's beginning changed; 0 where none began it.
        loss: on the held-out examples.
        excess: of the loss over the sham switch's after as many steps.
        metric: on the held-out examples.
        certified: how far the trained kernel of a site is from the original activation at most,
            the largest over the sites.
        level: of those certificates.
        holds_on: where the certificate of that site holds.
    """

    particles: int
    first_step: int
    last_step: int
    removal: float
    loss: float
    excess: float
    metric: float
    certified: float
    level: str
    holds_on: str


@dataclass(frozen=True)
class KnotPath:
    """From the kernel towards the plain replacement: knots taken away while the model is trained.

    Attributes:
        start: particles of the largest kernel at the beginning.
        end: at the end.
        words: what stands at the sites at the end.
        stages: one for each number of particles.
        finetuning: the whole run beside the sham switch; the model is back when it is within the
            tolerance after the last removal.
        worth: of the result; None where it failed.
        verdict: what follows for it.
    """

    start: int
    end: int
    words: str
    stages: tuple[PathStage, ...]
    finetuning: FineTuning
    worth: Worth | None
    verdict: ReportVerdict


def path_in_words(path: KnotPath) -> str:
    """One line for the head of a table."""
    steps = path.finetuning.steps[-1]
    return f"{PATH_NAME}: {path.start} to {path.end} particles a site in {steps:,} steps"
