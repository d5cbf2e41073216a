"""The whole report as data."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxbarron.report.data import Candidate, Failure, ReportVerdict, Thresholds, Training
from jaxbarron.report.kept import Kept
from jaxbarron.report.knots_removed import KnotPath

__all__ = ["SwitchReport"]


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
        path: from the kernel on with knots taken away in training; None where it was not run.
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
    path: KnotPath | None
    verdict: ReportVerdict
    thresholds: Thresholds
    failures: tuple[Failure, ...]
    unavailable: tuple[Failure, ...]
    seed: int
    device: str
    seconds: float
    versions: dict[str, str] = field(default_factory=dict[str, str])
