"""The ways beside each other: each one's metric, short run, worth and verdict, and the path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxbarron.errors import JaxbarronError
from jaxbarron.report.asked import Asked, Parts, outputs_of
from jaxbarron.report.candidates import Way
from jaxbarron.report.data import Candidate, FineTuning, Sparsity, Thresholds, Worth
from jaxbarron.report.finetuning import Sham, finetuning_of, prepare, pruned_of, sham_of
from jaxbarron.report.knots_removed import PATH_NAME, KnotPath
from jaxbarron.report.options import FineTune, ReportOptions
from jaxbarron.report.recording import Observed, Observer
from jaxbarron.report.verdict import front, path_verdict, verdict_of
from jaxbarron.report.worth import Call, sparsity_of, worth_of
from jaxbarron.switching import Replacement, Site, plan_switch
from jaxbarron.switching.metrics import metric_value
from jaxbarron.switching.validate import Comparison, compare_outputs

__all__ = ["Trials", "path_start", "sham_run", "with_front"]

_START = 16  # particles of the kernels from which a path starts where none was asked for


@dataclass(frozen=True, eq=False)
class Trials:
    """What all ways have in common.

    Attributes:
        asked: what the report is about.
        sites: all sites of the model.
        first: the model's outputs on the data.
        sham: the unchanged model after the same training; None where nothing is trained.
        options: how much is looked at.
        thresholds: of the verdicts.
        parts: what failed.
        watch: what goes into the sites.
        call: a call of the model.
    """

    asked: Asked
    sites: Sequence[Site]
    first: np.ndarray
    sham: Sham | None
    options: ReportOptions
    thresholds: Thresholds
    parts: Parts
    watch: Observer
    call: Call

    def candidate(self, way: Way, known: tuple[Comparison, Any] | None) -> Candidate:
        """One way; of the one asked for, what is ``known`` already is not done again."""
        model, worst = self.asked.model, way.worst
        switched = way.switched(model.apply)
        if known is None:
            comparison, found = self._validated(way, switched)
        else:
            comparison, found = known
        finetuning = self._trained(way.name, switched)
        worth = self._worth(way, sparsity_of(found))
        before = metric_value(model.metric, self.first, model.labels)
        lost = float("inf") if comparison is None else comparison.lost
        certified, level = (None, "sampled") if worst is None else (worst.upper, worst.level)
        tol = self.asked.demand.get("tol") if known is not None else None
        return Candidate(
            name=way.name,
            kind=way.kind,
            words=way.words,
            particles=way.particles,
            certified=certified,
            level=level,
            holds_on="" if worst is None else worst.where_it_holds,
            observed=float("inf") if comparison is None else comparison.largest_change,
            metric=float("nan") if comparison is None else comparison.after,
            lost=lost,
            finetuning=finetuning,
            worth=worth,
            on_front=False,
            verdict=verdict_of(
                model.metric, before, lost, certified, level, tol, finetuning, worth,
                self.thresholds,
            ),
        )  # fmt: skip

    def path(self, start: Sequence[Replacement], found: Mapping[str, Observed]) -> KnotPath | None:
        """From these kernels on, knots taken away in training; None where that fails."""
        sham, model, options = self.sham, self.asked.model, self.options
        if sham is None:
            return None
        part = f"fine-tuning of {PATH_NAME}"
        tell = self.parts.told(part)
        values = {path: seen.sample for path, seen in found.items()}
        made = self.parts.tried(
            part,
            lambda: pruned_of(model, start, values, options.pruned_to, sham, options, tell),
            None,
        )
        if made is None:
            return None
        pruned, finetuning = made
        way = Way(PATH_NAME, pruned.planned)
        seen = self.parts.tried(
            f"activations of {PATH_NAME}",
            lambda: self.watch.observe(pruned.planned, pruned.parameters),
            {},
        )
        worth = self._worth(way, sparsity_of(seen))
        before = metric_value(model.metric, self.first, model.labels)
        first, last = max(x.kernel.particles for x in start), way.particles
        return KnotPath(
            start=first,
            end=last,
            words=way.words,
            stages=pruned.stages,
            finetuning=finetuning,
            worth=worth,
            verdict=path_verdict(
                model.metric, before, first, last, finetuning, worth, self.thresholds
            ),
        )

    def _validated(self, way: Way, switched: Any) -> tuple[Comparison | None, Any]:
        model = self.asked.model

        def compared() -> Comparison:
            second = outputs_of(model, switched, way.name)
            return compare_outputs(self.first, second, model.labels, model.metric)

        comparison = self.parts.tried(f"validation of {way.name}", compared, None)
        part = f"activations of {way.name}"
        return comparison, self.parts.tried(part, lambda: self.watch.observe(way.planned), {})

    def _trained(self, name: str, switched: Any) -> FineTuning | None:
        sham, model = self.sham, self.asked.model
        if sham is None:
            return None
        part = f"fine-tuning of {name}"
        tell = self.parts.told(part)
        return self.parts.tried(
            part, lambda: finetuning_of(name, switched, model, sham, self.options, tell), None
        )

    def _worth(self, way: Way, sparsity: Sparsity | None) -> Worth | None:
        model, part = self.asked.model, f"latency of {way.name}"
        tell = self.parts.told(part)
        pairs = self.options.pairs
        return self.parts.tried(
            part,
            lambda: worth_of(model, self.call, way, self.sites, pairs, sparsity, tell),
            None,
        )


def path_start(
    asked: Asked, found: Mapping[str, Observed], options: ReportOptions
) -> tuple[tuple[Replacement, ...] | None, str]:
    """The kernels from which knots are taken away: those asked for, or of 16 particles.

    None, and why, where there is nothing to take away or no such kernel.
    """
    planned = tuple(asked.planned)
    if not options.pruned_to or not found:
        return None, ""
    if all(x.kernel.particles == 1 for x in planned):
        plain = {k: to[1] if isinstance(to, tuple) else to for k, to in asked.rules.items()}
        model, reach = asked.model, asked.demand.get("reach")
        try:
            planned = plan_switch(
                model.apply, plain, model.parameters, model.batch, particles=_START, reach=reach
            )
        except JaxbarronError as refused:
            return None, str(refused)
    most = max(x.kernel.particles for x in planned)
    if most <= options.pruned_to:
        return None, (
            f"the kernels have {most} particles, and the path ends at {options.pruned_to}"
        )
    return planned, ""


def sham_run(
    model: Any,
    shape: tuple[int, ...],
    tune: FineTune,
    options: ReportOptions,
    thresholds: Thresholds,
    parts: Parts,
) -> Sham | None:
    """The sham switch, or None where nothing is trained."""
    if not options.finetune_steps:
        return None
    part = "fine-tuning, the sham switch"
    tell = parts.told(part)
    return parts.tried(
        part,
        lambda: sham_of(
            model, prepare(model, shape, tune, options), tune, options, thresholds, tell
        ),
        None,
    )


def with_front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, each told whether it is on the front."""
    figures = [
        (
            x.observed,
            round(x.worth.latency.median, 2) if x.worth is not None else float("inf"),
            x.finetuning.back.steps.estimate if x.finetuning is not None else 0.0,
        )
        for x in candidates
    ]
    return [replace(x, on_front=on) for x, on in zip(candidates, front(figures), strict=True)]
