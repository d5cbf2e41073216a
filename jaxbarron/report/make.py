"""switch_report: may this activation be changed, what must still be trained, is it worth it?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import jax
import numpy as np

from jaxbarron.report.asked import Asked, Parts, Progress, outputs_of
from jaxbarron.report.behaviour import check_groups, kept_of, radius_of, search
from jaxbarron.report.candidates import asked_way, other_ways, size_in_words
from jaxbarron.report.certified import certified_changes
from jaxbarron.report.data import Failure, Thresholds
from jaxbarron.report.knots_removed import PATH_NAME
from jaxbarron.report.options import FineTune, ReportOptions
from jaxbarron.report.recording import Observer, site_reports
from jaxbarron.report.subject import OwnModel, model_of, users_code
from jaxbarron.report.trials import Trials, path_start, sham_run, with_front
from jaxbarron.report.whole import SwitchReport
from jaxbarron.report.worth import call_of
from jaxbarron.switching import find_activations, plan_switch
from jaxbarron.switching.metrics import Metric, metric_of, metric_value
from jaxbarron.switching.rules import Demand, read_rules
from jaxbarron.switching.validate import compare_outputs

__all__ = ["report_on", "switch_report"]

_CERTIFIED_UP_TO = 1_000_000  # numbers in a model for which one box is certified unasked
_LIBRARIES = ("jaxbarron", "jax", "optax", "numpy")


def switch_report(
    apply: Callable[..., Any],
    parameters: Any,
    rules: Mapping[Any, Any],
    inputs: Any,
    labels: Any,
    *,
    tol: float | None = None,
    particles: int | None = None,
    reach: float | None = None,
    direct: bool = False,
    metric: str | Metric = "accuracy",
    groups: Any = None,
    batch_size: int = 256,
    trainable: Callable[[str, Any], bool] | None = None,
    finetune: FineTune | None = None,
    options: ReportOptions | None = None,
    thresholds: Thresholds | None = None,
    progress: Progress | None = None,
) -> SwitchReport:
    """Does the switched model keep what the model can do, what must be trained, is it worth it?

    The kernel switch that is asked for, the plain replacement, the best single scaled particle and
    kernels of a few sizes are held beside each other.  Each is trained for a short while beside a
    *sham switch*, the unchanged model with the same extra training.  What is certified says so; all
    else was observed on this data and machine.

    Args:
        apply: ``apply(parameters, inputs) -> outputs``, rows to rows, in inference mode.
        parameters: a pytree.
        rules: as for :func:`jaxbarron.switch`.
        inputs: validation data, shape (n, ...).
        labels: shape (n, ...); whole numbers for accuracy.
        tol: as for :func:`jaxbarron.switch`; so are ``particles``, ``reach`` and ``direct``.
        metric: ``"accuracy"``, ``"mse"``, ``"mae"`` or a Metric.
        groups: a task for each example, to find the worst; None: the classes.
        batch_size: examples a call.
        trainable: ``trainable(path, array)``: what fine-tuning may change; None: see
            :func:`jaxbarron.report.subject.model_of`.
        finetune: training data, loss and optimiser.
        options: how much is looked at.
        thresholds: what the verdict compares with.
        progress: called with (part, done, total).

    Returns:
        The report, as data.  A part that failed is named in ``failures``, the others stand.

    Raises:
        UsageError, TraceError, ShapeError, DtypeError, NonFiniteError: the model, the data or the
            metric are not what they must be: see :func:`jaxbarron.report.subject.model_of`.
        The errors of :func:`jaxbarron.switch`.

    Example:
        >>> from jaxbarron.report import ReportOptions
        >>> rng = np.random.default_rng(0)
        >>> w, x = rng.normal(size=(3, 4)).astype("f"), rng.normal(size=(40, 3)).astype("f")
        >>> model = lambda w, x: jax.nn.gelu(x @ w)
        >>> few = ReportOptions(finetune_steps=0, sizes=(), boxes=0, pairs=1)
        >>> y = np.asarray(model(w, x)).argmax(1)
        >>> report = switch_report(model, w, {"gelu": "relu"}, x, y, tol=1e-3, options=few)
        >>> report.verdict.outcome, report.kept.change.estimate
        ('safe as it is', 0.0)
    """
    measured = metric_of(metric)
    model = model_of(
        "the model", apply, parameters, inputs, labels, measured, batch_size, trainable
    )
    demand: dict[str, Any] = {"tol": tol, "particles": particles, "reach": reach, "direct": direct}
    planned = plan_switch(model.apply, rules, model.parameters, model.batch, **demand)
    return report_on(
        Asked(
            getattr(apply, "__name__", "the model"), model, rules, demand, planned, groups=groups
        ),
        finetune or FineTune(),
        options or ReportOptions(),
        thresholds or Thresholds(),
        progress,
    )


def report_on(
    asked: Asked,
    tune: FineTune,
    options: ReportOptions,
    thresholds: Thresholds,
    progress: Progress | None = None,
) -> SwitchReport:
    """The report on a switch that is planned already; see :func:`switch_report`."""
    begin = time.perf_counter()
    parts, model = Parts(progress), asked.model
    groups = check_groups(asked.groups, len(model.inputs))
    way = asked_way(asked.planned)
    sites = find_activations(model.apply, model.parameters, model.batch)
    parts.told("validation")
    first = asked.outputs
    if first is None:
        first = outputs_of(model, model.apply, "the model")
    metric_value(model.metric, first, model.labels)
    after = way.switched(model.apply)
    second = outputs_of(model, after, "the switched model")
    comparison = compare_outputs(first, second, model.labels, model.metric)

    part = "activations, site by site"
    parts.told(part)
    own = read_rules(asked.rules, Demand(**asked.demand)).own
    paths = [plan.site.path for plan in way.planned]
    watch = Observer(
        model.apply, model.parameters, model.inputs, model.batch_size, paths, options.recorded, own
    )
    found = parts.tried(part, lambda: watch.observe(way.planned), {})
    by_site = site_reports(way.planned, found, size_in_words) if found else ()
    radius = radius_of(model, options)
    worst = ()
    if radius is not None and options.ascent_steps:
        parts.told("worst inputs, by gradient ascent")
        worst = parts.tried(
            "worst inputs", lambda: _searched(model, after, first, second, radius, options), ()
        )
    certified = ()
    boxes = _boxes(model, options)
    if radius is not None and boxes:
        parts.told("certified change of the outputs")
        moved = np.abs(second - first).reshape(len(first), -1).max(1)
        rows = [x.row for x in worst] or np.argsort(-moved, kind="stable").tolist()
        seen: dict[int, float] = {x.row: x.change for x in reversed(worst)}
        certified = parts.tried(
            "certified change of the outputs",
            lambda: certified_changes(model, asked.rules, asked.demand, rows[:boxes], radius, seen),
            (),
        )
    kept = kept_of(
        model, first, second, comparison, groups, worst, radius, by_site, watch.examples, certified,
        options, parts,
    )  # fmt: skip

    reach = asked.demand.get("reach")
    parts.told("candidates: kernels and certificates")
    others, missing = other_ways(model, asked.rules, reach, way, options.sizes, found)
    sham = sham_run(model, first.shape, tune, options, thresholds, parts)
    batch = model.batch if asked.latency_batch is None else asked.latency_batch
    call = call_of(model.apply, model.parameters, batch)
    trials = Trials(asked, sites, first, sham, options, thresholds, parts, watch, call)
    candidates = with_front([
        trials.candidate(each, (comparison, found) if each is way else None)
        for each in (way, *others)
    ])  # fmt: skip
    start, why = path_start(asked, found, options)
    if why and sham is not None:
        missing.append((PATH_NAME, why))
    path = None if start is None else trials.path(start, found)
    (target, *rest) = dict.fromkeys(plan.target.name for plan in way.planned)
    return SwitchReport(
        subject=asked.subject,
        rules=", ".join(
            dict.fromkeys(f"{plan.site.name} to {plan.target.name}" for plan in way.planned)
        ),
        target=", ".join((target, *rest)),
        asked=asked.words,
        kept=kept,
        training=None if sham is None else sham.training,
        candidates=tuple(candidates),
        path=path,
        verdict=candidates[0].verdict,
        thresholds=thresholds,
        failures=tuple(dict.fromkeys(parts.failures)),
        unavailable=tuple(Failure(name, reason) for name, reason in missing),
        seed=options.seed,
        device=jax.devices()[0].device_kind,
        seconds=time.perf_counter() - begin,
        versions={name: metadata.version(name) for name in _LIBRARIES},
    )


# ------------------------------------------------------------------ parts


def _searched(
    model: OwnModel,
    after: Callable[[Any, Any], Any],
    first: np.ndarray,
    second: np.ndarray,
    radius: float,
    options: ReportOptions,
) -> Any:
    with users_code(
        "the search for the worst inputs, which fails",
        "a model that takes any number of rows and can be differentiated in reverse",
        "for a loop with a traced trip count use lax.scan, or lax.fori_loop with bounds that are "
        "Python numbers; or leave the search out (ascent_steps=0)",
    ):
        return search(model, after, first, second, radius, options)


def _boxes(model: OwnModel, options: ReportOptions) -> int:
    if options.boxes is not None:
        return options.boxes
    numbers = sum(int(np.size(x)) for x in jax.tree.leaves(model.parameters))
    return 1 if numbers <= _CERTIFIED_UP_TO else 0
