"""``jaxbarron switch --report``: the full report, made with a progress bar, printed and written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from jaxbarron.certificates import write_atomically
from jaxbarron.cli.output import console, show_error, table, working_on
from jaxbarron.cli.own_model import load_object
from jaxbarron.cli.subjects import Subject
from jaxbarron.errors import UsageError
from jaxbarron.report import FineTune, ReportOptions, SwitchReport, Thresholds, words
from jaxbarron.report.asked import Asked
from jaxbarron.report.document import report_document
from jaxbarron.report.knots_removed import PATH_NAME, path_in_words
from jaxbarron.report.make import report_on
from jaxbarron.report.page import report_page
from jaxbarron.report.subject import users_code
from jaxbarron.switching import Replacement

__all__ = ["ReportWanted", "made_report", "save_report", "show_reports"]


@dataclass(frozen=True, eq=False)
class ReportWanted:
    """What the command line says about the report."""

    folder: Path
    tune: FineTune
    options: ReportOptions
    thresholds: Thresholds

    @staticmethod
    def read(
        folder: Path | None,
        seed: int | None,
        finetune_steps: int | None,
        learning_rate: float | None,
        loss: str | None,
        optimiser: str | None,
        radius: float | None,
        max_steps: int | None,
        max_loss: float | None,
        prune_to: int | None,
    ) -> ReportWanted | None:
        """The options, checked before anything is trained; None where no report is wanted.

        Raises:
            UsageError: an option out of its range, a loss or an optimiser that is not found.
        """
        if folder is None:
            return None
        if max_steps is not None and max_steps < 0:
            raise UsageError(f"given: --max-steps {max_steps}; expected: at least 0; do: e.g. 1000")
        given = {"seed": seed, "finetune_steps": finetune_steps, "learning_rate": learning_rate,
                 "radius": radius, "pruned_to": prune_to}  # fmt: skip
        options = ReportOptions(**{k: v for k, v in given.items() if v is not None})  # pyright: ignore[reportArgumentType]
        thresholds = Thresholds(max_loss=max_loss)
        if max_steps is not None:
            thresholds = replace(thresholds, max_steps=max_steps)
        return ReportWanted(
            folder,
            FineTune(
                loss=None if loss is None else load_object("--loss", loss),
                optimiser=None if optimiser is None else _optimiser(optimiser),
            ),
            options,
            thresholds,
        )


def _optimiser(spec: str) -> Any:
    make = load_object("--optimiser", spec)
    with users_code(
        f"--optimiser {spec}, which fails",
        "a function without arguments that returns an optax optimiser",
        "call it from Python",
    ):
        made = make()
    if not (hasattr(made, "init") and hasattr(made, "update")):
        raise UsageError(
            f"given: --optimiser {spec}, which returns a {type(made).__name__}; expected: an optax "
            "optimiser; do: return e.g. optax.adamw(1e-4)"
        )
    return made


def made_report(
    subject: Subject,
    rules: Mapping[Any, Any],
    demand: Mapping[str, Any],
    output_tol: float | None,
    planned: Sequence[Replacement],
    wanted: ReportWanted,
) -> SwitchReport:
    """The report on one target."""
    whole = {"tol": None, "particles": None, "reach": None, "direct": False, **demand}
    asked = Asked(
        " ".join(subject.heading.split()), subject.model, rules, whole, planned,
        latency_batch=subject.batch, output_tol=output_tol,
    )  # fmt: skip
    tune = replace(wanted.tune, train=subject.train)
    with working_on() as progress:
        return report_on(asked, tune, wanted.options, wanted.thresholds, progress)


def save_report(report: SwitchReport, folder: Path) -> None:
    """report.json and report.html, each written whole."""
    page = report_page(report)
    text = json.dumps(report_document(report), indent=1, allow_nan=False)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "report.json", (text + "\n").encode())
    write_atomically(folder / "report.html", page.encode())


def show_reports(reports: Sequence[SwitchReport], folder: Path, quiet: bool) -> None:
    """Write all reports, print them, and leave with status 2 where a part of one failed.

    One target's report lies in the folder itself, several in folders of the targets' names.
    """
    for report in reports:
        place = folder if len(reports) == 1 else folder / report.target
        save_report(report, place)
        if not quiet:
            _print(report, place)
    failed = [failure for report in reports for failure in report.failures]
    for failure in failed:
        show_error(f"{failure.part}: {failure.reason}")
    if failed:
        raise typer.Exit(2)
    if any(report.verdict.outcome == "do not switch" for report in reports):
        raise typer.Exit(1)


def _print(report: SwitchReport, place: Path) -> None:
    show, kept = console().print, report.kept
    show(f"\n=== report: {report.rules} ===\n")
    show("1. Does it keep what it can do?\n")
    rows = table(kept.metric, "", "95 %")
    for what, value, interval, _ in words.metric_rows(kept):
        rows.add_row(what, value, interval)
    show(rows)
    show(f"\nworst class or task: {words.groups_in_words(kept)}\n", soft_wrap=True)
    rows = table("claim", "what holds", "level")
    for row in words.equivalences(kept):
        rows.add_row(*row)
    show(rows)
    if report.training is not None:
        training = report.training
        show("\n2. What does fine-tuning cost?\n")
        show(
            f"{training.steps} steps of {training.batch} examples ({training.optimiser}, "
            f"{training.loss}) beside a sham switch, the unchanged model with\nthe same training; "
            f"back: at most {training.tolerance:.3g} above the sham's held-out loss\n",
            soft_wrap=True,
        )
        rows = table("candidate", "kind", "back after", "examples", "FLOPs", "time")
        for candidate in report.candidates:
            rows.add_row(candidate.name, candidate.kind, *words.cost_in_words(candidate.finetuning))
        if report.path is not None:
            rows.add_row(PATH_NAME, "path", *words.cost_in_words(report.path.finetuning))
        show(rows)
    if report.path is not None:
        show(f"\n{path_in_words(report.path)}\n", soft_wrap=True)
        rows = table("particles", "steps", "removal", "loss", "above the sham's", kept.metric,
                     "distance <=", "on", "level")  # fmt: skip
        for row in words.path_rows(report.path, kept.metric):
            rows.add_row(*row)
        show(rows)
    show("\n3. Is it worth it?\n")
    rows = table("candidate", "change", kept.metric, "latency", "FLOPs", "memory", "numbers",
                 "zeros", "verdict")  # fmt: skip
    for candidate in report.candidates:
        rows.add_row(
            candidate.name,
            words.figure(candidate.observed),
            words.metric_in_words(kept.metric, candidate.metric),
            *words.worth_rows(candidate),
            candidate.verdict.outcome,
        )
    if report.path is not None:
        ends = words.worth_rows(report.path)
        rows.add_row(PATH_NAME, "-", "trained", *ends, report.path.verdict.outcome)
    show(rows)
    show(f"\nverdict: {report.verdict.outcome}: {report.verdict.text}", soft_wrap=True)
    show(f"  (rule: {report.verdict.rule})", soft_wrap=True)
    for item in report.unavailable:
        show(f"not to be had: {item.part}: {item.reason}", soft_wrap=True)
    show(f"\nwritten: {place / 'report.html'} and {place / 'report.json'}", soft_wrap=True)
