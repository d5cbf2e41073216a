"""Figures as the terminal and the page write them."""

from __future__ import annotations

import math
from collections.abc import Callable

from jaxbarron.balls.notation import rounded_down, rounded_up
from jaxbarron.report.data import Candidate, FineTuning, Worth
from jaxbarron.report.kept import Certified, Group, Kept, SiteReport
from jaxbarron.report.knots_removed import KnotPath
from jaxbarron.report.statistics import Interval
from jaxbarron.report.verdict import steps_in_words

__all__ = [
    "amount",
    "certified_in_words",
    "cost_in_words",
    "equivalences",
    "figure",
    "groups_in_words",
    "metric_in_words",
    "metric_rows",
    "path_rows",
    "ratio_in_words",
    "seconds_in_words",
    "worth_rows",
]


def figure(value: float | None, digits: int = 3) -> str:
    """A number with few digits; no bound is written out.

    Example:
        >>> figure(0.0009845039), figure(None), figure(float("inf"))
        ('0.000985', '-', 'unbounded')
    """
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.{digits}g}" if math.isfinite(value) else "unbounded"


def amount(value: float | None) -> str:
    """A count with its thousands, or in powers of ten."""
    if value is None:
        return "-"
    if math.isinf(value):
        return "no upper end"
    return f"{value:,.0f}" if value < 1e7 else f"{value:.2e}"


def seconds_in_words(value: float) -> str:
    """Seconds, minutes or hours."""
    if math.isinf(value):
        return "no upper end"
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if value >= 2 * size or unit == "s":
            return f"{value / size:.3g} {unit}"
    raise AssertionError(value)


def metric_in_words(name: str, value: float, signed: bool = False) -> str:
    """Accuracy in percent, a change of it in points; other metrics as they are."""
    sign = "+" if signed else ""
    if name != "accuracy":
        return f"{value:{sign}.5g}"
    return f"{100 * value:{sign}.2f} {'points' if signed else '%'}"


def _interval(found: Interval, write: Callable[[float], str]) -> str:
    return f"{write(found.lower)} to {write(found.upper)}"


def metric_rows(kept: Kept) -> list[tuple[str, str, str, str]]:
    """Metric before, after, and its change: figure, interval, how the interval was found."""
    name = kept.metric

    def absolute(x: float) -> str:
        return metric_in_words(name, x)

    def change(x: float) -> str:
        return metric_in_words(name, x, signed=True)

    return [
        (what, write(found.estimate), _interval(found, write), found.method)
        for what, found, write in (
            (f"{name} before", kept.before, absolute),
            (f"{name} after", kept.after, absolute),
            ("change, same examples", kept.change, change),
        )
    ]


def groups_in_words(kept: Kept) -> str:
    """The worst class or task, and how many there are."""
    if not kept.groups:
        return "no classes or tasks"
    worst: Group = kept.groups[0]
    before, after = (metric_in_words(kept.metric, x) for x in (worst.before, worst.after))
    low: Callable[[Group], float] = (
        (lambda g: g.after) if kept.better == "higher" else (lambda g: -g.after)
    )
    least = min(kept.groups, key=low)
    text = (
        f"{worst.name}: {before} to {after}" if worst.lost > 0 else "no class or task lost anything"
    )
    return (
        f"{text}; worst after: {least.name} with {metric_in_words(kept.metric, least.after)} "
        f"({least.examples} examples)"
    )


def equivalences(kept: Kept) -> list[tuple[str, str, str]]:
    """eps-, Top-1 and delta-Top-1 equivalence: claim, figure, level."""
    seen = kept.equivalence
    where = "on the data"
    if kept.worst_found:
        where += f" and in boxes of radius {kept.radius:.3g} searched by gradient"
    rows = [("eps-equivalence", f"eps = {seen.epsilon:.4g} {where}", "sampled")]
    if seen.examples:
        upper = "" if seen.changed_upper is None else (
            f"; of all such inputs at most {100 * seen.changed_upper:.2g} % (exact, 95 %)"
        )  # fmt: skip
        rows.append(
            ("Top-1 equivalence", f"{seen.changed} of {seen.examples:,} classes changed{upper}",
             "sampled")
        )  # fmt: skip
        if seen.delta is not None:
            rows.append(
                ("delta-Top-1 equivalence",
                 "every class is the same" if not seen.changed else
                 f"the same class wherever the margin exceeds {seen.delta:.4g}", "sampled")
            )  # fmt: skip
    for found in kept.certified:
        rows += certified_in_words(found)
    return rows


def certified_in_words(found: Certified) -> list[tuple[str, str, str]]:
    """What is proved of one box, in the same three columns."""
    radius = f"{found.radius:.3g}"
    if float(radius) > found.radius:  # nothing was proved beyond it
        radius = rounded_down(found.radius, 3)
    box = f"for every input within {radius} of example {found.row}"
    if found.ends_at is not None:
        return [("eps-equivalence", f"no proof {box}: {found.ends_at}", "sampled")]
    beside = "" if found.observed is None else (
        f" (the search found {found.observed:.3g}, {found.largest / found.observed:.2g} times less)"
        if found.observed > 0
        else ""
    )  # fmt: skip
    rows = [("eps-equivalence", f"eps = {rounded_up(found.largest)} {box}{beside}", found.level)]
    if found.margin is not None:
        rows.append(
            ("delta-Top-1 equivalence",
             f"the same class wherever the margin exceeds {rounded_up(found.margin)}, {box}",
             found.level)
        )  # fmt: skip
    return rows


def cost_in_words(run: FineTuning | None) -> tuple[str, str, str, str]:
    """Steps, examples, FLOPs and seconds until back, with their ends."""
    if run is None:
        return "not measured", "-", "-", "-"
    back = run.back
    if back.kind == "at once":
        return "no step", "0", "0", "0 s"

    def ends(found: Interval | None, write: Callable[[float], str]) -> str:
        if found is None:
            return "-"
        low, high = write(found.lower), write(found.upper)
        return low if low == high else f"{low} to {high}"

    return (
        steps_in_words(back),
        ends(back.examples, amount),
        ends(back.flops, lambda x: f"{x:.1e}" if math.isfinite(x) else "no upper end"),
        ends(back.seconds, seconds_in_words),
    )


def path_rows(path: KnotPath, metric: str) -> list[tuple[str, ...]]:
    """Stage by stage: particles, steps, loss and its excess, metric, certified distance, level."""
    return [
        (
            str(stage.particles),
            f"{stage.first_step:,} to {stage.last_step:,}",
            figure(stage.removal),
            figure(stage.loss, 4),
            figure(stage.excess),
            metric_in_words(metric, stage.metric),
            "unbounded" if math.isinf(stage.certified) else rounded_up(stage.certified),
            stage.holds_on,
            stage.level,
        )
        for stage in path.stages
    ]


def ratio_in_words(worth: Worth) -> str:
    """The latency ratio with its quartiles."""
    speed = worth.latency
    return f"{speed.median:.2f} ({speed.lower_quartile:.2f} to {speed.upper_quartile:.2f})"


def worth_rows(candidate: Candidate | KnotPath) -> tuple[str, ...]:
    """Latency, FLOPs, memory, parameters and zeros, before to after."""
    worth = candidate.worth
    if worth is None:
        return ("not measured", "-", "-", "-", "-")
    zeros = "-" if worth.sparsity is None else (
        f"{100 * worth.sparsity.before:.1f} % to {100 * worth.sparsity.after:.1f} %"
    )  # fmt: skip
    return (
        ratio_in_words(worth),
        "-" if worth.flops is None else f"{worth.flops[1] / worth.flops[0]:.2f}",
        "-" if worth.memory is None else f"{worth.memory[1] / max(worth.memory[0], 1):.2f}",
        f"+{worth.parameters[1] - worth.parameters[0]:,}",
        zeros,
    )


def site_row(site: SiteReport) -> tuple[str, ...]:
    """Path, what it was and is, certified, observed and carried change."""
    return (
        site.path,
        site.activation,
        site.kernel,
        figure(site.certified, 4),
        site.holds_on,
        site.level,
        figure(site.observed, 4),
        figure(site.carried, 4),
    )
