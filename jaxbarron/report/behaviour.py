"""The first question: does the switched model keep what the model can do?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.errors import ShapeError
from jaxbarron.report.asked import Parts
from jaxbarron.report.attack import ascend
from jaxbarron.report.kept import Certified, Equivalence, Group, Kept, Range, SiteReport, WorstInput
from jaxbarron.report.options import ReportOptions
from jaxbarron.report.statistics import (
    Interval,
    bootstrap,
    mcnemar,
    paired_shares,
    resampled_rows,
    share,
)
from jaxbarron.report.subject import OwnModel
from jaxbarron.switching.metrics import ACCURACY, Metric, metric_value
from jaxbarron.switching.validate import Comparison

__all__ = ["change_of", "check_groups", "kept_of", "radius_of", "search"]

_SHOWN = 5


def kept_of(
    model: OwnModel,
    first: np.ndarray,
    second: np.ndarray,
    comparison: Comparison,
    groups: np.ndarray | None,
    found: tuple[WorstInput, ...],
    radius: float | None,
    sites: tuple[SiteReport, ...],
    recorded: int,
    certified: tuple[Certified, ...],
    options: ReportOptions,
    parts: Parts,
) -> Kept:
    """The first question answered, from both models' outputs on the data.

    Args:
        model: the model on its data.
        first: its outputs.
        second: those of the switched model.
        comparison: of both.
        groups: a task for each example; None: classes, where labels are classes.
        found: what :func:`search` found.
        radius: where it looked.
        sites: site by site.
        recorded: on how many examples they were observed.
        certified: what is proved.
        options: resamples and seed.
        parts: told where the metric fails on resampled examples or on a class alone.
    """
    metric, labels = model.metric, model.labels
    classes = comparison.changed is not None
    before, after, change, p_value = parts.tried(
        "intervals of the metric",
        lambda: _intervals(metric, first, second, labels, options),
        _without_interval(comparison),
    )
    by_group = parts.tried(
        "classes or tasks one by one",
        lambda: _groups(metric, first, second, labels, groups, classes),
        (),
    )
    moved = np.abs(second - first).reshape(len(first), -1).max(1)
    worst = np.argsort(-moved, kind="stable")[:_SHOWN]
    by_row = first.ndim == 2 and classes
    epsilon = max([float(moved.max()), *(x.change for x in found)])
    return Kept(
        examples=comparison.examples,
        metric=metric.name,
        better="higher" if metric.higher_is_better else "lower",
        before=before,
        after=after,
        change=change,
        p_value=p_value,
        groups=by_group,
        worst_on_data=tuple(
            WorstInput(
                int(k), 0.0, float(moved[k]),
                (int(first[k].argmax()), int(second[k].argmax())) if by_row else None,
            )
            for k in worst
        ),
        worst_found=found,
        radius=radius,
        outputs=Range(
            (float(first.min()), float(first.max())), (float(second.min()), float(second.max()))
        ),
        sites=sites,
        recorded=recorded,
        equivalence=_equivalence(first, second, comparison, epsilon),
        certified=certified,
    )  # fmt: skip


def check_groups(groups: Any, examples: int) -> np.ndarray | None:
    """A task for each example, or None.

    Raises:
        ShapeError: not one for each.
    """
    if groups is None:
        return None
    found = np.asarray(groups)
    if found.shape != (examples,):
        raise ShapeError(
            f"given: groups of shape {found.shape} for {examples} examples; expected: one for "
            "each; do: pass the task of each example"
        )
    return found


# ------------------------------------------------------------------ figures with intervals


def _intervals(
    metric: Metric, first: np.ndarray, second: np.ndarray, labels: np.ndarray,
    options: ReportOptions,
) -> tuple[Interval, Interval, Interval, float | None]:  # fmt: skip
    if metric == ACCURACY and labels.ndim == 1:
        right, still = first.argmax(-1) == labels, second.argmax(-1) == labels
        lost, won = int(np.sum(right & ~still)), int(np.sum(~right & still))
        count = len(labels)
        return (
            share(int(right.sum()), count),
            share(int(still.sum()), count),
            paired_shares(lost, won, count),
            mcnemar(lost, won),
        )

    # labels of several positions an example are not independent: whole examples are drawn
    def figures(rows: np.ndarray) -> tuple[float, ...]:
        a, b = (metric_value(metric, x[rows], labels[rows]) for x in (first, second))
        return a, b, b - a

    rows = resampled_rows(len(first), options.resamples, options.seed)
    before, after, change = bootstrap(figures, rows)
    return before, after, change, None


def _without_interval(seen: Comparison) -> tuple[Interval, Interval, Interval, float | None]:
    words = "none: the metric fails on resampled examples"
    figures = seen.before, seen.after, seen.after - seen.before
    before, after, change = (Interval(x, -np.inf, np.inf, words) for x in figures)
    return before, after, change, None


def _groups(
    metric: Metric, first: np.ndarray, second: np.ndarray, labels: np.ndarray,
    groups: np.ndarray | None, classes: bool,
) -> tuple[Group, ...]:  # fmt: skip
    if groups is None and not (classes and labels.ndim == 1):
        return ()
    kind = "class " if groups is None else ""
    groups = labels if groups is None else groups
    made: list[Group] = []
    for name in np.unique(groups):
        rows = groups == name
        a, b = (metric_value(metric, x[rows], labels[rows]) for x in (first, second))
        made.append(Group(f"{kind}{name}", int(rows.sum()), a, b, metric.lost(a, b)))
    sign = -1.0 if metric.higher_is_better else 1.0
    return tuple(sorted(made, key=lambda g: (-g.lost, -sign * g.after)))


def _equivalence(
    first: np.ndarray, second: np.ndarray, comparison: Comparison, epsilon: float
) -> Equivalence:
    if comparison.changed is None:
        return Equivalence(epsilon, 0, 0, None, None)
    differs = first.argmax(-1) != second.argmax(-1)
    ordered = np.sort(first, axis=-1)
    margins = ordered[..., -1] - ordered[..., -2] if first.shape[-1] > 1 else ordered[..., -1]
    changed = int(differs.sum())
    return Equivalence(
        epsilon,
        differs.size,
        changed,
        share(changed, differs.size).upper if first.ndim == 2 else None,
        float(margins[differs].max()) if changed else 0.0,
    )


# ------------------------------------------------------------------ worst inputs


def change_of(
    before: Callable[[Any, Any], Any], after: Callable[[Any, Any], Any], parameters: Any
) -> Callable[[Any], Any]:
    """Rows of inputs to the largest change of an output of each."""

    def change(x: Any) -> Any:
        moved = jnp.abs(after(parameters, x) - before(parameters, x))
        return jnp.max(moved.reshape(len(x), -1), axis=1)

    return change


def radius_of(model: OwnModel, options: ReportOptions) -> float | None:
    """Of the boxes around examples; None for inputs that are no real numbers."""
    if not jnp.issubdtype(model.inputs.dtype, jnp.floating):
        return None
    if options.radius is not None:
        return options.radius
    spread = float(jnp.max(model.inputs) - jnp.min(model.inputs))
    return 0.01 * spread if spread > 0 else None


def search(
    model: OwnModel,
    after: Callable[[Any, Any], Any],
    first: np.ndarray,
    second: np.ndarray,
    radius: float,
    options: ReportOptions,
) -> tuple[WorstInput, ...]:
    """Gradient ascent on the change in boxes around the examples where it is largest.

    Args:
        model: the model on its data.
        after: the switched model.
        first: outputs on the data.
        second: outputs of the switched model.
        radius: of the boxes.
        options: how many boxes, steps and restarts; the seed.

    Returns:
        The worst inputs, the worst first; each change was computed anew by both models.
    """
    moved = np.abs(second - first).reshape(len(first), -1).max(1)
    rows = np.argsort(-moved, kind="stable")[: options.searched]
    starts = model.inputs[rows]
    points = ascend(
        change_of(model.apply, after, model.parameters),
        starts,
        radius,
        jax.random.key(options.seed),
        restarts=options.restarts,
        steps=options.ascent_steps,
    )
    outputs = [np.asarray(jax.jit(fn)(model.parameters, points), np.float64)
               for fn in (model.apply, after)]  # fmt: skip
    changes = np.abs(outputs[1] - outputs[0]).reshape(len(rows), -1).max(1)
    far = np.abs(np.asarray(points - starts)).reshape(len(rows), -1).max(1)
    logits = outputs[0].ndim == 2 and model.metric.labels == "classes"
    worst: Sequence[int] = np.argsort(-changes, kind="stable").tolist()[:_SHOWN]
    return tuple(
        WorstInput(
            int(rows[k]), float(far[k]), float(changes[k]),
            (int(outputs[0][k].argmax()), int(outputs[1][k].argmax())) if logits else None,
        )
        for k in worst
    )  # fmt: skip
