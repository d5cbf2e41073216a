"""The rule that leads from the figures to a verdict, and the front of the candidates."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxbarron.report.data import Back, FineTuning, ReportVerdict, Thresholds, Worth
from jaxbarron.switching.metrics import ACCURACY, Metric
from jaxbarron.switching.validate import ACCURACY_RULE, METRIC_RULE

__all__ = ["front", "path_verdict", "steps_in_words", "verdict_of"]


def verdict_of(
    metric: Metric,
    before: float,
    lost: float,
    certified: float | None,
    level: str,
    tol: float | None,
    finetuning: FineTuning | None,
    worth: Worth | None,
    thresholds: Thresholds,
) -> ReportVerdict:
    """The verdict on one candidate.

    Args:
        metric: what is measured.
        before: its value for the model.
        lost: by how much the candidate is worse before any training.
        certified: the largest certified error of a site; None without certificate.
        level: of that certificate.
        tol: the tolerance asked of it, where one was.
        finetuning: the short run, where there was one.
        worth: latency and the rest, where measured.
        thresholds: what all this is compared with.
    """
    allowed, unit = _allowed(metric, before, thresholds)
    rule = (
        f"safe as it is: {metric.name} worse by at most {unit}"
        + ("" if tol is None else f", every site certified within {tol:g}")
        + f"; fine-tune: the upper end of the estimate is at most {thresholds.max_steps:,} steps; "
        f"else do not switch; a latency ratio above {thresholds.max_latency:g} is remarked on"
    )
    remark = _remark(worth, thresholds)
    if tol is not None and not (level == "rigorous" and certified is not None and certified <= tol):
        return ReportVerdict(
            "do not switch", f"a site is not rigorously certified within {tol:g}{remark}", rule
        )
    fall = _fall(metric, lost)
    if lost <= allowed:
        return ReportVerdict("safe as it is", f"{fall} without any training{remark}", rule)
    if finetuning is None:
        return ReportVerdict(
            "do not switch", f"{fall}, and the cost of fine-tuning was not measured{remark}", rule
        )
    back = finetuning.back
    if back.kind == "at once":
        # the loss shows nothing to repair: what the run did to the metric decides
        behind = metric.lost(finetuning.sham_metric, finetuning.metric)
        ran = f"after {finetuning.steps[-1]:,} steps {_fall(metric, behind)} beside the sham's"
        told = f"{fall} without training, though the loss is not; {ran}"
        if behind <= allowed and finetuning.steps[-1] <= thresholds.max_steps:
            return ReportVerdict("fine-tune", f"{told}{remark}", rule)
        return ReportVerdict("do not switch", f"{told}{remark}", rule)
    if back.steps.upper <= thresholds.max_steps:
        return ReportVerdict(
            "fine-tune",
            f"{fall} without training; budget {steps_in_words(back)}, "
            f"{back.examples.upper:,.0f} examples at most{_cost(back)}{remark}",
            rule,
        )
    return ReportVerdict(
        "do not switch",
        f"{fall} without training, and {steps_in_words(back)} of fine-tuning are needed{remark}",
        rule,
    )


def path_verdict(
    metric: Metric,
    before: float,
    first: int,
    last: int,
    finetuning: FineTuning,
    worth: Worth | None,
    thresholds: Thresholds,
) -> ReportVerdict:
    """The verdict on taking knots away in training.

    Args:
        metric: what is measured.
        before: its value for the model.
        first: particles a site at the start.
        last: at the end.
        finetuning: the run beside the sham switch.
        worth: latency and the rest of the result, where measured.
        thresholds: what all this is compared with.
    """
    allowed, unit = _allowed(metric, before, thresholds)
    rule = (
        "fine-tune: after the last removal the loss is back within the tolerance, the upper end of "
        f"the estimate at most {thresholds.max_steps:,} steps, and where the run shows it "
        f"{metric.name} is worse than the sham's by at most {unit}; else do not switch"
    )
    back, ran = finetuning.back, finetuning.steps[-1]
    behind = metric.lost(finetuning.sham_metric, finetuning.metric)
    told = (
        f"{first} to {last} particles a site in {ran:,} steps: {_fall(metric, behind)} beside the "
        f"sham's; the loss is back after {steps_in_words(back)}{_remark(worth, thresholds)}"
    )
    settled = back.kind != "measured" or behind <= allowed
    good = back.steps.upper <= thresholds.max_steps and settled
    return ReportVerdict("fine-tune" if good else "do not switch", told, rule)


def steps_in_words(back: Back) -> str:
    """The estimate with its ends."""
    low, high = back.steps.lower, back.steps.upper
    if back.kind == "at once":
        return "no step"
    if back.kind == "not in sight" or math.isinf(high):
        return f"more than {low:,.0f} steps, no upper end"
    if f"{low:,.0f}" == f"{high:,.0f}":
        return f"{low:,.0f} steps ({back.kind})"
    return f"{low:,.0f} to {high:,.0f} steps ({back.kind})"


def _remark(worth: Worth | None, thresholds: Thresholds) -> str:
    if worth is None or worth.latency.median <= thresholds.max_latency:
        return ""
    return f"; a call takes {worth.latency.median:.2f} times as long"


def _cost(back: Back) -> str:
    seconds = back.seconds.upper
    text = f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"
    flops = "" if back.flops is None else f", {back.flops.upper:.2g} FLOPs"
    return f"{flops}, {text} on this machine"


def _allowed(metric: Metric, before: float, thresholds: Thresholds) -> tuple[float, str]:
    given = thresholds.max_loss
    if metric == ACCURACY:
        allowed = ACCURACY_RULE if given is None else given
        return allowed, f"{100 * allowed:g} points"
    if given is None:
        return METRIC_RULE * abs(before), f"{100 * METRIC_RULE:g} % of its value"
    return given, f"{given:g}"


def _fall(metric: Metric, lost: float) -> str:
    if lost <= 0:
        return f"{metric.name} is kept"
    amount = f"{100 * lost:.2f} points" if metric == ACCURACY else f"{lost:.3g}"
    return f"{metric.name} is worse by {amount}"


def front(figures: Sequence[tuple[float, ...]]) -> list[bool]:
    """For each row whether no other is at least as good everywhere and better somewhere.

    Example:
        >>> front([(1.0, 3.0), (2.0, 2.0), (2.0, 3.0)])
        [True, True, False]
    """
    return [
        not any(
            all(a <= b for a, b in zip(other, row, strict=True)) and tuple(other) != tuple(row)
            for other in figures
        )
        for row in figures
    ]
