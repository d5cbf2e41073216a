"""``jaxbarron switch``: a model, the demo's or the user's own, switched and held against itself."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import typer

from jaxbarron.activations import Activation
from jaxbarron.cli.output import check_writable, working, write_json
from jaxbarron.cli.report import ReportWanted, made_report, show_reports
from jaxbarron.cli.shared import PROBE, shared_plan
from jaxbarron.cli.subjects import DEFAULT_BATCH, Subject, demo_subject, own_subject
from jaxbarron.cli.switch_options import (
    DEFAULT_TOL,
    check_folder,
    checked_loss,
    checked_radius,
    demand_of,
    names_of,
    refuse,
    targets_of,
)
from jaxbarron.cli.switch_report import Outcome, print_report, save_outcomes, switch_document
from jaxbarron.errors import UsageError
from jaxbarron.report.subject import OwnModel, users_code
from jaxbarron.report.whole import SwitchReport
from jaxbarron.switching import Replacement, Site, find_activations, plan_switch, switch
from jaxbarron.switching.metrics import metric_value
from jaxbarron.switching.validate import compare_outputs, judge, model_outputs, paired_latency

__all__ = ["switch_command"]

_DEMO_SOURCE = "gelu"


@dataclass(frozen=True)
class _Options:
    """Which activations, into which, how near."""

    sources: tuple[str, ...]
    targets: tuple[Activation, ...]
    tol: float | None
    particles: int | None
    max_loss: float | None
    output_tol: float | None = None
    radius: float | None = None


def switch_command(
    demo: Annotated[
        str | None, typer.Option("--demo", help="The demo to switch; there is one: digits.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Your own: package.module:factory; factory() returns (callable, parameters) with "
            "callable(parameters, inputs) -> outputs.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="With --model: an npz file with inputs and labels, or targets."
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            help="With --model: accuracy (outputs are logits), mse, mae, or your own "
            "package.module:function(outputs, labels) -> number [accuracy].",
        ),
    ] = None,
    metric_direction: Annotated[
        str | None,
        typer.Option("--metric-direction", help="Of your own metric: higher or lower is better."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", help=f"With --model: examples a call [{DEFAULT_BATCH}]."),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="NAME",
            help="Activation to replace; repeat it, or separate by commas.",
        ),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to", metavar="NAME", help="Target activation; repeat it, or separate by commas."
        ),
    ] = None,
    tol: Annotated[
        float | None,
        typer.Option("--tol", help=f"Largest certified error at each site [{DEFAULT_TOL:g}]."),
    ] = None,
    particles: Annotated[
        int | None, typer.Option("--particles", help="Size of each kernel, instead of --tol.")
    ] = None,
    output_tol: Annotated[
        float | None,
        typer.Option(
            "--output-tol",
            help="Instead: largest change of any output, shared out over the sites; measured on "
            "the data, with --radius proved around one example where the bound allows.",
        ),
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(
            "--max-loss",
            help="How much worse the metric may get, in its unit [accuracy: 0.005; others: 1 %].",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Of the demo's training, and of what --report draws [0]."),
    ] = None,
    report_dir: Annotated[
        Path | None,
        typer.Option(
            "--report",
            help="Folder for the full report (report.html, report.json): what is kept, what "
            "fine-tuning costs, whether it is worth it.",
        ),
    ] = None,
    train_file: Annotated[
        Path | None,
        typer.Option(
            "--train", help="With --model and --report: npz to fine-tune on [half of --data]."
        ),
    ] = None,
    finetune_steps: Annotated[
        int | None,
        typer.Option(
            "--finetune-steps", help="With --report: steps of each short run; 0: none [200]."
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="With --report: of Adam [3e-4].")
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            "--loss",
            help="With --report: your own package.module:function(outputs, labels) -> mean "
            "[cross-entropy for classes, else mean square].",
        ),
    ] = None,
    optimiser: Annotated[
        str | None,
        typer.Option(
            "--optimiser",
            help="With --report: package.module:function() -> optax optimiser [Adam].",
        ),
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option(
            "--radius",
            help="With --report: of the boxes around examples that are searched and certified "
            "[1 % of the inputs' range]. With --output-tol: of the box in which it is proved.",
        ),
    ] = None,
    max_steps: Annotated[
        int | None,
        typer.Option(
            "--max-steps", help="With --report: the largest budget of fine-tuning [10000]."
        ),
    ] = None,
    prune_to: Annotated[
        int | None,
        typer.Option(
            "--prune-to",
            help="With --report: particles a site at the end of the path that takes knots away "
            "from the kernels in training; 0: no path [2].",
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report as JSON; - is stdout.")
    ] = None,
    save_dir: Annotated[
        Path | None,
        typer.Option("--save", help="Folder for certificates (JSON) and kernels (safetensors)."),
    ] = None,
) -> None:
    """Switch the activations of a trained model and report what that changes.

    Finds the model's activations, replaces each by a kernel of the target with a certified error
    of at most TOL, and holds the switched model against the original on validation data: metric,
    outputs, predictions, latency; then the verdict with its rule. --demo digits trains a small
    flax classifier of handwritten digits with GELU (seconds, no download). --model takes a model
    of your own: a flax, equinox, haiku or plain JAX function, in inference mode.

    \b
      jaxbarron switch --demo digits --to relu --tol 1e-3
      jaxbarron switch --demo digits --to relu,repu2,repu3 --json report.json
      jaxbarron switch --model package.module:factory --data val.npz --from gelu --to relu
      jaxbarron switch --model net:make --data val.npz --metric mse --from silu --to relu
      jaxbarron switch --demo digits --to relu --report report
      jaxbarron switch --demo digits --to relu --output-tol 0.1 --radius 0.01
    """
    if demo is not None and model is None and demo != "digits":
        raise UsageError(
            f"given: --demo {demo}; expected: --demo digits; do: choose it, or --model for a model "
            "of your own"
        )
    if (demo is None) == (model is None):
        given = "neither --demo nor --model" if demo is None else "--demo and --model"
        raise UsageError(
            f"given: {given}; expected: one of them; do: 'jaxbarron switch --demo digits --to "
            "relu', or --model package.module:factory --data val.npz for a model of your own"
        )
    own = {"--data": data, "--metric": metric, "--metric-direction": metric_direction,
           "--batch-size": batch_size, "--train": train_file}  # fmt: skip
    of_report = {"--train": train_file, "--finetune-steps": finetune_steps, "--loss": loss,
                 "--learning-rate": learning_rate, "--optimiser": optimiser,
                 "--max-steps": max_steps, "--prune-to": prune_to}  # fmt: skip
    if demo:
        refuse(own, "--model")
    if report_dir is None:
        refuse(of_report, "--report")
        if output_tol is None:
            refuse({"--radius": radius}, "--report or --output-tol")
        if model:
            refuse({"--seed": seed}, "--demo or --report")
    options = _Options(
        names_of(source) or ((_DEMO_SOURCE,) if demo else ()), targets_of(to),
        *demand_of(tol, particles, output_tol), checked_loss(max_loss), output_tol,
        checked_radius(radius),
    )  # fmt: skip
    check_writable(json_file)
    check_folder("--save", save_dir)
    check_folder("--report", report_dir)
    wanted = ReportWanted.read(
        report_dir, seed, finetune_steps, learning_rate, loss, optimiser, radius, max_steps,
        options.max_loss, prune_to,
    )  # fmt: skip
    with contextlib.redirect_stdout(sys.stderr):  # what a model of the user's prints is no report
        subject = (
            demo_subject(seed or 0)
            if model is None
            else own_subject(
                model, data, metric or "accuracy", metric_direction, batch_size, train_file
            )
        )
        subject, sites, outcomes = _run(subject, options)
        reports = [] if wanted is None else [_report(subject, options, x, wanted) for x in outcomes]
    if save_dir is not None:
        save_outcomes(save_dir, outcomes)
    if json_file is not None:
        asked = {"sources": options.sources, "tol": options.tol, "particles": particles,
                 "output_tol": output_tol}  # fmt: skip
        fields = {**subject.fields, **asked, "max_loss": max_loss}
        write_json(switch_document(fields, sites, outcomes), json_file)
    if str(json_file) != "-":
        print_report(subject.heading, sites, outcomes, save_dir)
    if wanted is not None:
        show_reports(reports, wanted.folder, quiet=str(json_file) == "-")
    if any(outcome.verdict.outcome == "do not switch" for outcome in outcomes):
        raise typer.Exit(1)


# ------------------------------------------------------------------ the work


def _run(subject: Subject, options: _Options) -> tuple[Subject, tuple[Site, ...], list[Outcome]]:
    model = subject.model
    sites = find_activations(model.apply, model.parameters, model.batch)
    if not options.sources:
        names = ", ".join(dict.fromkeys(site.name for site in sites)) or "none"
        raise UsageError(
            f"given: no --from; expected: the activation to replace; the model has: {names}; do: "
            "e.g. --from gelu"
        )
    # Planned before the training: what cannot be reached is said at once.
    plans = [_plan(model, options, target) for target in options.targets]
    if subject.trained is not None:
        subject = subject.trained()
    told = [""] * len(plans)
    if options.output_tol is not None:
        found = [
            shared_plan(subject.model, dict.fromkeys(options.sources, target), options.output_tol,
                        options.radius)
            for target in options.targets
        ]  # fmt: skip
        plans, told = [x.planned for x in found], [x.words for x in found]
    before = jax.jit(subject.model.apply)
    first = _outputs(subject.model, before, "the model")
    metric_value(subject.model.metric, first, subject.model.labels)
    outcomes = [
        _outcome(subject, options, target, planned, before, first, words)
        for target, planned, words in zip(options.targets, plans, told, strict=True)
    ]
    return subject, sites, outcomes


def _plan(model: OwnModel, options: _Options, target: Activation) -> tuple[Replacement, ...]:
    names = ", ".join(options.sources)
    with working(f"{names} -> {target.name}: kernel and certificate"):
        return plan_switch(
            model.apply,
            dict.fromkeys(options.sources, target),
            model.parameters,
            model.batch,
            tol=options.tol,
            particles=PROBE if options.output_tol is not None else options.particles,
        )


def _outputs(model: OwnModel, fn: Callable[..., Any], what: str) -> np.ndarray:
    with (
        working(f"validation, {what}"),
        users_code(
            f"{what}, which fails on batches of {model.batch_size} examples",
            "a model that runs on all its inputs",
            "choose a smaller --batch-size if memory ran out",
        ),
    ):
        return model_outputs(lambda x: fn(model.parameters, x), model.inputs, model.batch_size)


def _outcome(
    subject: Subject,
    options: _Options,
    target: Activation,
    planned: tuple[Replacement, ...],
    before: Callable[..., Any],
    first: np.ndarray,
    words: str,
) -> Outcome:
    model = subject.model
    # The very kernels that were certified, site by site.
    rules: dict[Any, Any] = {plan.site.path: (plan.kernel, plan.target) for plan in planned}
    after = jax.jit(switch(model.apply, rules))
    second = _outputs(model, after, f"the model switched to {target.name}")
    comparison = compare_outputs(first, second, model.labels, model.metric)
    with working(f"latency, {target.name} beside {', '.join(options.sources)}") as advance:
        latency = paired_latency(before, after, model.parameters, subject.batch, progress=advance)
    certificates = [plan.certificate for plan in planned]
    verdict = judge(
        comparison, latency, [c.upper for c in certificates], [c.level for c in certificates],
        options.tol, options.max_loss,
    )  # fmt: skip
    return Outcome(
        target, planned, comparison, latency, len(subject.batch), subject.examples, verdict, words
    )


def _report(
    subject: Subject, options: _Options, outcome: Outcome, wanted: ReportWanted
) -> SwitchReport:
    rules: dict[Any, Any] = dict.fromkeys(options.sources, outcome.target)
    if options.output_tol is not None:
        rules = {x.site.path: (x.kernel, x.target) for x in outcome.planned}
    demand = {"tol": options.tol, "particles": options.particles}
    return made_report(subject, rules, demand, options.output_tol, outcome.planned, wanted)
