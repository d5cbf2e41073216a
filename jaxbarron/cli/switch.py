"""``jaxbarron switch``: a demo model, switched, held against the original."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import typer

from jaxbarron.activations import Activation, activation
from jaxbarron.certificates import Certificate, save
from jaxbarron.cli.output import (
    certificate_fields,
    check_writable,
    console,
    size_of,
    table,
    working,
    write_json,
)
from jaxbarron.demo import Digits, Model, digits, initial_model, train
from jaxbarron.errors import UsageError
from jaxbarron.export import save_measure
from jaxbarron.switching import Replacement, find_activations, plan_switch, switch
from jaxbarron.switching.validate import (
    Comparison,
    LatencyRatio,
    Verdict,
    compare_models,
    judge,
    paired_latency,
)

__all__ = ["switch_command"]

_DEFAULT_TOL = 1e-3
_LATENCY_BATCH = 4096
_SOURCE = "gelu"


@dataclass(frozen=True)
class _Outcome:
    """One target: what was planned, and what it did."""

    target: Activation
    planned: tuple[Replacement, ...]
    comparison: Comparison
    latency: LatencyRatio
    verdict: Verdict


def switch_command(
    demo: Annotated[
        str | None, typer.Option("--demo", help="The model to switch; there is one: digits.")
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", help="Target activation; repeat it, or separate by commas."),
    ] = None,
    tol: Annotated[
        float | None,
        typer.Option("--tol", help=f"Largest certified error at each site [{_DEFAULT_TOL:g}]."),
    ] = None,
    particles: Annotated[
        int | None, typer.Option("--particles", help="Size of each kernel, instead of --tol.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the training.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report as JSON; - is stdout.")
    ] = None,
    save_dir: Annotated[
        Path | None,
        typer.Option("--save", help="Folder for certificates (JSON) and kernels (safetensors)."),
    ] = None,
) -> None:
    """Switch the activations of a trained model and report what that changes.

    Trains a small flax classifier of handwritten digits with GELU (seconds, no download), finds
    its activations, replaces each by a kernel of the target with a certified error of at most
    TOL, and holds the switched model against the original on validation images: accuracy, logits,
    predictions, latency; then the verdict with its rule. For a model of your own call
    jaxbarron.switch from Python: it takes any JAX function.

    \b
      jaxbarron switch --demo digits --to relu --tol 1e-3
      jaxbarron switch --demo digits --to relu,repu2,repu3 --json report.json
      jaxbarron switch --demo digits --to hard_tanh --particles 32 --save certificates
    """
    targets = _targets(demo, to)
    if tol is None and particles is None:
        tol = _DEFAULT_TOL
    elif tol is not None and particles is not None:
        raise UsageError(
            f"given: --tol {tol:g} and --particles {particles}; expected: one of them; do: choose "
            "the error or the size"
        )
    check_writable(json_file)
    if save_dir is not None:
        save_dir.mkdir(parents=True, exist_ok=True)
    data, model = digits(), initial_model(seed)
    images = jnp.asarray(data.x_validation)
    sites = find_activations(model.apply, model.parameters, images)
    # Planned before the training: what cannot be reached is said at once.
    plans = [_plan(model, images, target, tol, particles) for target in targets]
    start = time.perf_counter()
    with working("training the classifier") as advance:
        model = train(model, data, seed=seed, progress=advance)
    seconds = time.perf_counter() - start
    outcomes = [
        _outcome(model, data, target, planned, tol)
        for target, planned in zip(targets, plans, strict=True)
    ]
    if save_dir is not None:
        _save(save_dir, outcomes)
    if json_file is not None:
        write_json(_document(data, seed, tol, particles, sites, outcomes), json_file)
    if str(json_file) != "-":
        _print(data, seconds, sites, outcomes, save_dir)
    if any(outcome.verdict.outcome == "do not switch" for outcome in outcomes):
        raise typer.Exit(1)


def _targets(demo: str | None, to: Sequence[str] | None) -> list[Activation]:
    if demo != "digits":
        given = "no --demo" if demo is None else f"--demo {demo}"
        raise UsageError(
            f"given: {given}; expected: --demo digits; do: 'jaxbarron switch --demo digits --to "
            "relu', or jaxbarron.switch from Python for a model of your own"
        )
    names = [name for text in to or () for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("given: no target; expected: --to NAME; do: e.g. --to relu")
    return list(dict.fromkeys(activation(name) for name in names))


def _plan(
    model: Model, images: Any, target: Activation, tol: float | None, particles: int | None
) -> tuple[Replacement, ...]:
    with working(f"{_SOURCE} -> {target.name}: kernel and certificate"):
        return plan_switch(
            model.apply,
            {_SOURCE: target},
            model.parameters,
            images,
            tol=tol,
            particles=particles,
        )


def _outcome(
    model: Model,
    data: Digits,
    target: Activation,
    planned: tuple[Replacement, ...],
    tol: float | None,
) -> _Outcome:
    # The very kernels that were certified, site by site.
    rules: dict[Any, Any] = {plan.site.path: (plan.kernel, plan.target) for plan in planned}
    before = jax.jit(model.apply)
    after = jax.jit(switch(model.apply, rules))
    comparison = compare_models(
        lambda x: before(model.parameters, x),
        lambda x: after(model.parameters, x),
        jnp.asarray(data.x_validation),
        data.y_validation,
    )
    batch = jnp.asarray(np.resize(data.x_validation, (_LATENCY_BATCH, data.x.shape[1])))
    with working(f"latency, {target.name} beside {_SOURCE}") as advance:
        latency = paired_latency(before, after, model.parameters, batch, progress=advance)
    certificates = _certificates(planned)
    verdict = judge(
        comparison, latency, [c.upper for c in certificates], [c.level for c in certificates], tol
    )
    return _Outcome(target, planned, comparison, latency, verdict)


def _certificates(planned: Sequence[Replacement]) -> list[Certificate]:
    return [plan.certificate for plan in planned]


def _save(folder: Path, outcomes: Sequence[_Outcome]) -> None:
    """For each distinct kernel SOURCE-to-TARGET.json and .safetensors, each written whole."""
    for outcome in outcomes:
        for certificate in dict.fromkeys(_certificates(outcome.planned)):
            source, target = certificate.source.name, certificate.target.name
            stem = folder / f"{_file_name(source)}-to-{_file_name(target)}"
            metadata = {"source": source, "target": target, "certificate": f"{stem.name}.json"}
            # the kernel first: a certificate never stands there without its kernel
            save_measure(certificate.kernel, _with(stem, ".safetensors"), metadata)
            save(certificate, _with(stem, ".json"))


def _with(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)  # with_suffix would cut "swish_1.702"


def _file_name(name: str) -> str:
    """``leaky_relu(0.2)`` as ``leaky_relu_0.2``: no bracket that a shell would read."""
    return re.sub(r"[^\w.+-]+", "_", name).strip("_")


def _document(
    data: Digits,
    seed: int,
    tol: float | None,
    particles: int | None,
    sites: Sequence[Any],
    outcomes: Sequence[_Outcome],
) -> dict[str, Any]:
    return {
        "schema": "jaxbarron-switch",
        "version": 1,
        "demo": "digits",
        "seed": seed,
        "tol": tol,
        "particles": particles,
        "training_examples": len(data.y),
        "sites": [_site_fields(site) for site in sites],
        "targets": [
            {
                "target": outcome.target.name,
                "sites": [
                    {**_site_fields(plan.site), "kernel": certificate_fields(plan.certificate)}
                    for plan in outcome.planned
                ],
                "validation": {
                    "examples": outcome.comparison.examples,
                    "accuracy_before": outcome.comparison.accuracy_before,
                    "accuracy_after": outcome.comparison.accuracy_after,
                    "largest_logit_change": outcome.comparison.largest_change,
                    "largest_logit": outcome.comparison.largest_logit,
                    "predictions_changed": outcome.comparison.changed,
                    "predictions_changed_share": outcome.comparison.changed_share,
                },
                "latency": {
                    "ratio": outcome.latency.median,
                    "lower_quartile": outcome.latency.lower_quartile,
                    "upper_quartile": outcome.latency.upper_quartile,
                    "before_seconds": outcome.latency.before_seconds,
                    "after_seconds": outcome.latency.after_seconds,
                    "pairs": outcome.latency.pairs,
                    "batch": _LATENCY_BATCH,
                    "device": jax.devices()[0].device_kind,
                },
                "verdict": {
                    "outcome": outcome.verdict.outcome,
                    "text": outcome.verdict.text,
                    "rule": outcome.verdict.rule,
                },
            }
            for outcome in outcomes
        ],
    }


def _site_fields(site: Any) -> dict[str, Any]:
    return {
        "path": site.path,
        "activation": site.name,
        "shape": list(site.shape),
        "dtype": str(jnp.dtype(site.dtype)),
    }


def _print(
    data: Digits,
    seconds: float,
    sites: Sequence[Any],
    outcomes: Sequence[_Outcome],
    save_dir: Path | None,
) -> None:
    out = console()
    out.print(
        f"digits: a flax classifier 64 -> 128 -> 128 -> 10 with GELU, trained on {len(data.y)} "
        f"images in {seconds:.1f} s,\nvalidated on {len(data.y_validation)} others\n"
    )
    out.print(f"{len(sites)} activation sites found")
    rows = table("site", "activation", "shape", "dtype")
    for site in sites:
        fields = _site_fields(site)
        rows.add_row(site.path, site.name, str(tuple(site.shape)), fields["dtype"])
    out.print(rows)
    for outcome in outcomes:
        _print_outcome(out.print, outcome)
    if save_dir is not None:
        names = f"{save_dir}{os.sep}*.json"
        out.print(f"\nsaved; to derive the claims again: jaxbarron verify {names}", soft_wrap=True)


def _print_outcome(show: Callable[..., None], outcome: _Outcome) -> None:
    seen, speed = outcome.comparison, outcome.latency
    show(f"\n=== switched to {outcome.target.name} ===")
    kernels = table("site", "kernel", "certified error", "holds on", "level")
    for plan in outcome.planned:
        certificate: Certificate = plan.certificate
        kernels.add_row(
            plan.site.path,
            f"{certificate.source.name} -> {outcome.target.name}: {size_of(certificate)}",
            f"{certificate.upper:.4g}",
            certificate.where_it_holds,
            certificate.level,
        )
    show(kernels)
    show()
    figures = table("validation", "before", "after", "change")
    figures.add_row(
        "accuracy",
        f"{100 * seen.accuracy_before:.2f} %",
        f"{100 * seen.accuracy_after:.2f} %",
        f"{-100 * seen.accuracy_lost:+.2f} points" if seen.accuracy_lost else "none",
    )
    figures.add_row(
        "largest change of a logit",
        f"logits up to {seen.largest_logit:.3g}",
        "",
        f"{seen.largest_change:.3g}",
    )
    figures.add_row(
        "predictions changed",
        "",
        "",
        f"{seen.changed} of {seen.examples} ({100 * seen.changed_share:.2f} %)",
    )
    figures.add_row(
        f"latency, {_LATENCY_BATCH} images",
        f"{1e3 * speed.before_seconds:.3g} ms",
        f"{1e3 * speed.after_seconds:.3g} ms",
        f"ratio {speed.median:.2f} (quartiles {speed.lower_quartile:.2f} to "
        f"{speed.upper_quartile:.2f}, {speed.pairs} alternating pairs)",
    )
    show(figures)
    show(f"\nverdict: {outcome.verdict.outcome}: {outcome.verdict.text}", soft_wrap=True)
    show(f"  (rule: {outcome.verdict.rule})", soft_wrap=True)
