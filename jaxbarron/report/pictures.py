"""The pictures of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxbarron.report.chart import Axis, Chart
from jaxbarron.report.data import FineTuning, Training
from jaxbarron.report.kept import SiteReport
from jaxbarron.report.knots_removed import KnotPath
from jaxbarron.report.whole import SwitchReport

__all__ = ["by_layer", "curves", "density", "knots", "losses", "pareto", "runs_of", "series"]


def series(k: int) -> str:
    """The class of the k-th candidate's colour."""
    return f"s{k % 8}"


def density(site: SiteReport) -> str:
    """How often a pre-activation is met, over the kernel's error there."""
    seen = site.density
    low, high = seen.edges[0], seen.edges[-1]
    bound = site.certified if site.certified is not None and math.isfinite(site.certified) else None
    top = 1.15 * max([abs(e) for e in seen.error] + ([bound] if bound is not None else []))
    top = top or 1e-12
    words = f"{site.path}: density of pre-activations over the kernel's error"
    chart = Chart(words, Axis(low, high, "pre-activation z"),
                  Axis(-top, top, "kernel - activation"), height=260)  # fmt: skip
    most = max(seen.share) or 1.0
    # The density has no axis of its own: its highest bin reaches the picture's top.
    xs = [x for edge in zip(seen.edges[:-1], seen.edges[1:], strict=True) for x in edge]
    ys = [-top + 2 * top * 0.97 * share / most for share in seen.share for _ in (0, 1)]
    chart.band(xs, [-top] * len(xs), ys, "density")
    if bound is not None:
        chart.level(bound, "bound", f"certified, {site.holds_on}")
        chart.level(-bound, "bound")
    chart.level(0.0, "zero")
    chart.line(seen.points, seen.error, "error")
    for knot in seen.knots:
        chart.mark(knot, 0.0, "knot")
    return chart.svg()


def by_layer(sites: Sequence[SiteReport]) -> str:
    """Certified and observed error of each kernel, and the change carried to each site's output."""
    rows = [(s.certified, s.observed, s.carried) for s in sites]
    known = [x for row in rows for x in row if x is not None and 0 < x < math.inf]
    low, high = (min(known), max(known)) if known else (1e-6, 1.0)
    axis = Axis(low / 2, high * 3, "change (log scale)", "log")
    across = Axis(0.5, len(sites) + 0.5, "site, in the order of the model", whole=True)
    chart = Chart("Change by layer", across, axis, height=280)
    # certified last, as rings: at many sites the error on the data reaches it
    for name, column in (("carried", 2), ("observed", 1), ("certified", 0)):
        points = [(k + 1, row[column]) for k, row in enumerate(rows)]
        shown = [(k, x) for k, x in points if x is not None and 0 < x < math.inf]
        if len(shown) > 1:
            chart.line([k for k, _ in shown], [x for _, x in shown], name)
        for k, x in shown:
            words = f"{sites[k - 1].path}: {name} {x:.3g}"
            chart.dot(k, x, name, words, filled=name != "certified")
    return chart.svg()


def runs_of(report: SwitchReport) -> list[tuple[int, FineTuning]]:
    """The runs with the numbers of their colours; the path's is the last."""
    each = [*report.candidates, *(() if report.path is None else (report.path,))]
    return [(k, c.finetuning) for k, c in enumerate(each) if c.finetuning is not None]


def losses(runs: Sequence[tuple[int, FineTuning]], training: Training) -> str:
    """The held-out loss of each run, and that of the sham switch."""
    sham = runs[0][1].sham
    values = [x for _, run in runs for x in run.loss] + list(sham)
    axis = _axis(values, f"held-out {training.loss}")
    steps = Axis(0, training.steps, "steps of the optimiser")
    chart = Chart("Held-out loss during fine-tuning", steps, axis)
    for k, run in runs:
        chart.line(run.steps, run.loss, series(k))
    chart.line(runs[0][1].steps, sham, "sham")
    return chart.svg()


def curves(runs: Sequence[tuple[int, FineTuning]], training: Training) -> str:
    """The excess of the held-out loss over the sham's, run by run, with the tolerance.

    Where the excess spans decades it is drawn in a log scale, cut off below the tolerance.
    """
    most = max(x for _, run in runs for x in run.excess)
    words = f"{training.loss} above the sham's"
    if most > 20 * training.tolerance:
        axis = Axis(training.tolerance / 10, 2 * most, f"{words} (log)", "log")
    else:
        ends = [x for _, run in runs for pair in run.excess_spread for x in pair]
        low, high = min([0.0, *ends]), max([training.tolerance, *ends])
        axis = Axis(low - 0.08 * (high - low), high + 0.08 * (high - low), words)
    chart = Chart(
        "Held-out loss over the sham's, during fine-tuning",
        Axis(0, training.steps, "steps of the optimiser"),
        axis,
    )
    for k, run in runs:
        chart.band(run.steps, [a for a, _ in run.excess_spread], [b for _, b in run.excess_spread],
                   series(k))  # fmt: skip
    if axis.scale == "linear":
        chart.level(0.0, "zero", "the sham switch", below=True)
    chart.level(training.tolerance, "bound", "tolerance")
    for k, run in runs:
        chart.line(run.steps, run.excess, series(k))
    return chart.svg()


def knots(path: KnotPath, training: Training, name: str) -> str:
    """The excess over the sham's along the path; each stage ends at a dot with its particles."""
    run = path.finetuning
    ends = [x for pair in run.excess_spread for x in pair]
    low, high = min([0.0, *ends]), max([training.tolerance, *ends])
    room = 0.12 * (high - low)
    axis = Axis(low - room, high + room, f"{training.loss} above the sham's")
    steps = Axis(0, training.steps * 1.04, "steps of the optimiser")
    chart = Chart("Knots removed in training", steps, axis, height=280)
    chart.band(run.steps, [a for a, _ in run.excess_spread], [b for _, b in run.excess_spread],
               name)  # fmt: skip
    chart.level(0.0, "zero", "the sham switch", below=True)
    chart.level(training.tolerance, "bound", "tolerance")
    chart.line(run.steps, run.excess, name)
    for stage in path.stages:
        words = f"{stage.particles} particles, excess {stage.excess:.3g}"
        chart.dot(stage.last_step, stage.excess, name, words)
        chart.text(stage.last_step, stage.excess, str(stage.particles))
    return chart.svg()


def _axis(values: Sequence[float], label: str) -> Axis:
    low, high = min(values), max(values)
    if low > 0 and high > 20 * low:
        return Axis(low / 1.5, high * 1.5, f"{label} (log)", "log")
    room = 0.08 * (high - low) or 0.1 * abs(high) or 0.1
    return Axis(low - room, high + room, label)


def pareto(report: SwitchReport) -> str:
    """Every candidate: how much a call takes against how much the outputs change untrained."""
    shown = [
        (k, c, c.worth.latency.median)
        for k, c in enumerate(report.candidates)
        if c.worth is not None and math.isfinite(c.observed)
    ]
    ratios, changes = [r for _, _, r in shown], [max(c.observed, 1e-9) for _, c, _ in shown]
    left, right = min([*ratios, 1.0]), max([*ratios, 1.0])
    room = 0.12 * (right - left) + 0.03
    chart = Chart(
        "Latency against change, candidate by candidate",
        Axis(left - room, right + 2.5 * room, "time of a call, against the model's"),
        Axis(min(changes) / 2.5, max(changes) * 2.5, "largest change of an output (log)", "log"),
        height=360,
    )
    for k, c, ratio in shown:
        words = f"{c.name}: {ratio:.2f} times the latency, change {c.observed:.3g}"
        chart.dot(ratio, max(c.observed, 1e-9), series(k), words, c.on_front)
        chart.text(ratio, max(c.observed, 1e-9), c.name)
    return chart.svg()
