"""The whole report on the transformer encoder: what it says, and how long it takes.

The model of ``benchmarks.transformer`` with targets of its own outputs and noise, so that the mean
square error before the switch is that of the noise.  A few steps of fine-tuning for each candidate:
enough to time the parts, too few to say what training costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from benchmarks.transformer import encoder, parameters
from jaxbarron.report import ReportOptions, switch_report

__all__ = ["ReportFigure", "report_figures"]

_NOISE = 0.05


@dataclass(frozen=True)
class ReportFigure:
    """One candidate of the report, or the path.

    ``before`` and ``after`` are the excess of the loss over the sham switch's, before and after
    the steps; ``seconds`` is the time of the whole report, ``failures`` its parts that failed.
    """

    name: str
    certified: float | None
    change: float | None
    before: float
    after: float
    latency: float
    verdict: str
    seconds: float
    failures: int
    parameters: int


def report_figures(
    quick: bool, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[ReportFigure]:
    """The report's candidates; ``progress`` is given (parts done, about how many)."""
    layers, words, count, length = (1, 100, 16, 8) if quick else (6, 30522, 48, 32)
    params = parameters(layers=layers, words=words)
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, words, (count, length)).astype(np.int32)
    clean = np.asarray(jax.jit(encoder)(params, tokens))
    targets = clean + _NOISE * rng.normal(size=clean.shape).astype(np.float32)
    steps = 0 if quick else 12  # the tests have no time to train it
    options = ReportOptions(
        finetune_steps=steps, evaluations=6, finetune_batch=8, held_out=16,
        sizes=() if quick else (4, 16), pairs=1 if quick else 5, recorded=16, resamples=100,
    )  # fmt: skip
    seen: list[str] = []

    def tell(part: str, done: int, total: int) -> None:
        if part not in seen:
            seen.append(part)
            progress(len(seen), max(len(seen), 16))

    report = switch_report(
        encoder, params, {"gelu": "relu"}, tokens, targets, tol=1e-3, metric="mse", batch_size=8,
        options=options, progress=tell,
    )  # fmt: skip
    size = sum(int(np.size(x)) for x in jax.tree.leaves(params))
    rows = [
        (c.name, c.certified, c.observed, c.finetuning, c.worth, c.verdict)
        for c in report.candidates
    ]
    if report.path is not None:
        path = report.path
        distance = path.stages[-1].certified
        name = f"knots removed, {path.start} to {path.end}"
        rows.append((name, distance, None, path.finetuning, path.worth, path.verdict))
    return [
        ReportFigure(
            name, certified, change,
            np.nan if run is None else run.excess[0],
            np.nan if run is None else run.excess[-1],
            np.nan if worth is None else worth.latency.median,
            verdict.outcome, report.seconds, len(report.failures), size,
        )
        for name, certified, change, run, worth, verdict in rows
    ]  # fmt: skip
