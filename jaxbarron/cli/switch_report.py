"""What ``jaxbarron switch`` found: the terminal's tables, the JSON document, the saved files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxbarron.activations import Activation
from jaxbarron.balls.notation import rounded_up
from jaxbarron.certificates import Certificate, save
from jaxbarron.cli.output import certificate_fields, console, size_of, table
from jaxbarron.export import save_measure
from jaxbarron.switching import Replacement, Site
from jaxbarron.switching.metrics import ACCURACY
from jaxbarron.switching.validate import Comparison, LatencyRatio, Verdict

__all__ = ["Outcome", "print_report", "save_outcomes", "switch_document"]


@dataclass(frozen=True)
class Outcome:
    """One target: what was planned, and what it did.

    Attributes:
        target: the activation switched to.
        planned: what became of each site that a rule speaks of.
        comparison: the metric before and after, and the change of the outputs.
        latency: the ratio after over before.
        latency_batch: how many examples a call had when the clock ran.
        examples: what they are called.
        verdict: what follows, with its rule.
        shared: what is kept of a tolerance at the outputs, where one was asked for.
    """

    target: Activation
    planned: tuple[Replacement, ...]
    comparison: Comparison
    latency: LatencyRatio
    latency_batch: int
    examples: str
    verdict: Verdict
    shared: str = ""


# ------------------------------------------------------------------ files


def save_outcomes(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """For each distinct kernel SOURCE-to-TARGET.json and .safetensors, each written whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for outcome in outcomes:
        taken: dict[str, int] = {}
        for certificate in dict.fromkeys(plan.certificate for plan in outcome.planned):
            source, target = certificate.source.name, certificate.target.name
            name = f"{_file_name(source)}-to-{_file_name(target)}"
            taken[name] = taken.get(name, 0) + 1  # a shared tolerance makes several of one pair
            stem = folder / (name if taken[name] == 1 else f"{name}-{taken[name]}")
            metadata = {"source": source, "target": target, "certificate": f"{stem.name}.json"}
            # the kernel first: a certificate never stands there without its kernel
            save_measure(certificate.kernel, _with(stem, ".safetensors"), metadata)
            save(certificate, _with(stem, ".json"))


def _with(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)  # with_suffix would cut "swish_1.702"


def _file_name(name: str) -> str:
    """``leaky_relu(0.2)`` as ``leaky_relu_0.2``: no bracket that a shell would read."""
    return re.sub(r"[^\w.+-]+", "_", name).strip("_")


# ------------------------------------------------------------------ JSON


def switch_document(
    subject: Mapping[str, Any], sites: Sequence[Site], outcomes: Sequence[Outcome]
) -> dict[str, Any]:
    """The report as JSON; ``subject`` says what was switched, and with which options."""
    return {
        "schema": "jaxbarron-switch",
        "version": 1,
        **subject,
        "sites": [_site_fields(site) for site in sites],
        "targets": [
            {
                "target": outcome.target.name,
                "sites": [
                    {**_site_fields(plan.site), "kernel": certificate_fields(plan.certificate)}
                    for plan in outcome.planned
                ],
                "outputs": outcome.shared or None,
                "validation": _validation_fields(outcome.comparison),
                "latency": {
                    "ratio": outcome.latency.median,
                    "lower_quartile": outcome.latency.lower_quartile,
                    "upper_quartile": outcome.latency.upper_quartile,
                    "before_seconds": outcome.latency.before_seconds,
                    "after_seconds": outcome.latency.after_seconds,
                    "pairs": outcome.latency.pairs,
                    "batch": outcome.latency_batch,
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


def _validation_fields(seen: Comparison) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "examples": seen.examples,
        "metric": seen.metric.name,
        "better": "higher" if seen.metric.higher_is_better else "lower",
        "before": seen.before,
        "after": seen.after,
        "largest_change": seen.largest_change,
        "largest_output": seen.largest_output,
        "predictions_changed": seen.changed,
        "predictions_changed_share": seen.changed_share,
    }
    if seen.metric == ACCURACY:  # the names that version 1 had before there were other metrics
        fields |= {
            "accuracy_before": seen.before,
            "accuracy_after": seen.after,
            "largest_logit_change": seen.largest_change,
            "largest_logit": seen.largest_output,
        }
    return fields


def _site_fields(site: Site) -> dict[str, Any]:
    return {
        "path": site.path,
        "activation": site.name,
        "shape": list(site.shape),
        "dtype": str(jnp.dtype(site.dtype)),
    }


# ------------------------------------------------------------------ the terminal


def print_report(
    heading: str, sites: Sequence[Site], outcomes: Sequence[Outcome], save_dir: Path | None
) -> None:
    """Sites, then for each target kernels, figures and verdict."""
    out = console()
    out.print(f"{heading}\n", soft_wrap=True)
    count = f"{len(sites)} activation site{'s' * (len(sites) != 1)} found"
    out.print(f"{count} (site: the place in the model's jaxpr)")
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


def _print_outcome(show: Callable[..., None], outcome: Outcome) -> None:
    show(f"\n=== switched to {outcome.target.name} ===")
    kernels = table("site", "kernel", "certified error", "holds on", "level")
    for plan in outcome.planned:
        certificate: Certificate = plan.certificate
        kernels.add_row(
            plan.site.path,
            f"{certificate.source.name} -> {outcome.target.name}: {size_of(certificate)}",
            rounded_up(certificate.upper),
            certificate.where_it_holds,
            certificate.level,
        )
    show(kernels)
    show(f"\noutputs: {outcome.shared}\n" if outcome.shared else "", soft_wrap=True)
    figures = table("validation", "before", "after", "change")
    for row in _figures(outcome):
        figures.add_row(*row)
    show(figures)
    show(f"\nverdict: {outcome.verdict.outcome}: {outcome.verdict.text}", soft_wrap=True)
    show(f"  (rule: {outcome.verdict.rule})", soft_wrap=True)


def _figures(outcome: Outcome) -> list[tuple[str, str, str, str]]:
    seen, speed = outcome.comparison, outcome.latency
    if seen.metric == ACCURACY:
        before, after = (f"{100 * value:.2f} %" for value in (seen.before, seen.after))
        change = f"{-100 * seen.lost:+.2f} points"
    else:
        before, after = (f"{value:.6g}" for value in (seen.before, seen.after))
        change = f"{seen.after - seen.before:+.3g}"
    logits = seen.changed is not None
    rows = [
        (seen.metric.name, before, after, change if seen.lost else "none"),
        (
            f"largest change of {'a logit' if logits else 'an output'}",
            f"{'logits' if logits else 'outputs'} up to {seen.largest_output:.3g}",
            "",
            f"{seen.largest_change:.3g}",
        ),
    ]
    if seen.changed is not None:
        share = 100 * seen.changed / seen.examples
        rows.append(
            ("predictions changed", "", "", f"{seen.changed} of {seen.examples} ({share:.2f} %)")
        )
    rows.append(
        (
            f"latency, {outcome.latency_batch} {outcome.examples}",
            f"{1e3 * speed.before_seconds:.3g} ms",
            f"{1e3 * speed.after_seconds:.3g} ms",
            f"ratio {speed.median:.2f} (quartiles {speed.lower_quartile:.2f} to "
            f"{speed.upper_quartile:.2f}, {speed.pairs} alternating pairs)",
        )
    )
    return rows
