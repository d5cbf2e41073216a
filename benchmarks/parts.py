"""The parts of the benchmarks: what each measures, and how its figures are shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.constants import ConstantFigure, constant_figures, table_seconds
from benchmarks.cost import Cost, costs, too_dear
from benchmarks.finetune import FineTuneFigure, finetune_figures
from benchmarks.kernels import KernelFigure, kernel_figures
from benchmarks.networks import ComparedFigure, compared_figures
from benchmarks.norms import NormFigure, norm_figures
from benchmarks.peers import missing
from benchmarks.tighten import TightenFigure, tighten_figures
from benchmarks.transformer import TransformerFigure, transformer_figures
from benchmarks.transformer_report import ReportFigure, report_figures

__all__ = ["PARTS", "Part"]


@dataclass(frozen=True)
class Part:
    """One table of figures.

    Attributes:
        doing: what the progress bar says.
        heading: above the table; given the figures.
        columns: of the table.
        texts: how many of the first columns are text; the others stand to the right.
        figures: measures; given whether sizes are small, and the progress; where ``batched``, by
            name ``batch`` and ``lanes`` too.
        cells: one row.
        more: further entries of the document, and the lines below the table; given the figures.
        broken: what the figures should have kept and did not, a sentence for each.
        batched: whether many values are asked for in one call.
    """

    doing: str
    heading: Callable[[Sequence[Any]], str]
    columns: tuple[str, ...]
    texts: int
    figures: Callable[..., Sequence[Any]]
    cells: Callable[[Any], tuple[str, ...]]
    more: Callable[[Sequence[Any]], tuple[dict[str, Any], list[str]]] = lambda _: ({}, [])
    broken: Callable[[Sequence[Any]], list[str]] = lambda _: []
    batched: bool = False


def _network_cells(figure: ComparedFigure) -> tuple[str, ...]:
    peers = (figure.products, figure.intervals, figure.crown, figure.crown_seconds)
    return (
        figure.name,
        str(figure.particles),
        f"{figure.attack:.3g}",
        f"{figure.bound:.3g}",
        f"{figure.bound / figure.attack:.2f}",
        f"{figure.seconds:.1f}",
        f"{figure.together:.3g}",
        f"{figure.together / figure.attack:.2f}",
        f"{figure.together_seconds:.1f}",
        *("-" if x is None else f"{x:.3g}" for x in peers),
    )


def _transformer_cells(figure: TransformerFigure) -> tuple[str, ...]:
    return (
        figure.form,
        str(figure.sites),
        "-" if figure.largest_error is None else f"{figure.largest_error:.3g}",
        f"{figure.find_seconds:.2f}",
        f"{figure.seconds:.2f}",
        f"{figure.least_cosine:.7f}",
        f"{figure.mean_cosine:.7f}",
    )


def _report_cells(figure: ReportFigure) -> tuple[str, ...]:
    return (
        figure.name,
        "-" if figure.certified is None else f"{figure.certified:.3g}",
        "-" if figure.change is None else f"{figure.change:.3g}",
        "-" if math.isnan(figure.before) else f"{figure.before:.2e}",
        "-" if math.isnan(figure.after) else f"{figure.after:.2e}",
        f"{figure.latency:.2f}",
        figure.verdict,
    )


def _report_more(figures: Sequence[ReportFigure]) -> tuple[dict[str, Any], list[str]]:
    first = figures[0]
    return {}, [f"the whole report: {first.seconds:.0f} s; {first.failures} parts failed"]


def _cost_cells(cost: Cost) -> tuple[str, ...]:
    spread = f"{cost.lower_quartile:.2f} to {cost.upper_quartile:.2f}"
    return (
        cost.source,
        cost.form,
        cost.work,
        f"{1e3 * cost.seconds:.2f}",
        f"{cost.ratio:.2f}",
        spread,
    )


def _norm_cells(figure: NormFigure) -> tuple[str, ...]:
    return (
        figure.source,
        str(figure.s),
        str(figure.particles),
        f"{figure.program_error:.1e}",
        f"{figure.program_seconds:.3f}",
        f"{figure.gap:.1e}",
        f"{figure.largest_gap:.1e}",
        f"{figure.values_a_second:.0f}",
        f"{figure.ratio:.0f}",
        f"{1e3 * figure.rigorous_seconds:.0f}",
    )


def _constant_cells(figure: ConstantFigure) -> tuple[str, ...]:
    return (
        figure.source,
        str(figure.s),
        f"{figure.lower:.12g}",
        f"{figure.upper - figure.lower:.1g}",
        f"{1e3 * figure.seconds:.1f}",
        f"{1e3 * figure.peer_seconds:.0f}",
        f"{figure.ratio:.1f}",
        f"{max(figure.lower - figure.peer, figure.peer - figure.upper, 0.0):.1g}",
    )


def _tighten_cells(figure: TightenFigure) -> tuple[str, ...]:
    return (
        figure.source,
        str(figure.s),
        f"{figure.spread:g}",
        f"{figure.offset:g}",
        figure.method,
        str(figure.steps),
        f"{figure.gap:.1e}",
        f"{1e3 * figure.seconds_a_step:.2f}",
    )


def _kernel_cells(figure: KernelFigure) -> tuple[str, ...]:
    return (
        figure.source,
        str(figure.s),
        str(figure.knots),
        f"{figure.error:.4g}",
        f"{figure.ratio:.3f}",
        f"{figure.scipy_error:.4g}",
        f"{figure.scipy_ratio:.3f}",
    )


def _finetune_cells(figure: FineTuneFigure) -> tuple[str, ...]:
    upper = f"{figure.upper:,.0f}" if math.isfinite(figure.upper) else "no upper end"
    known = math.isfinite(figure.measured)
    return (
        figure.case,
        f"{figure.short_steps:,}",
        f"{figure.estimate:,.0f}",
        f"{figure.lower:,.0f} to {upper}",
        f"{figure.measured:,.0f}" if known else f"> {figure.long_steps:,}",
        "yes" if figure.holds else "no",
    )


def _constants_more(_: Sequence[ConstantFigure]) -> tuple[dict[str, Any], list[str]]:
    entries, seconds = table_seconds()
    document = {"constants_table": {"entries": entries, "seconds": seconds}}
    return document, [f"the whole table, {entries} entries: {seconds:.2f} s"]


def _finetune_more(figures: Sequence[FineTuneFigure]) -> tuple[dict[str, Any], list[str]]:
    held = sum(figure.holds for figure in figures)
    return {}, [f"the interval holds the measured cost in {held} of {len(figures)} cases"]


def _networks_more(_: Sequence[ComparedFigure]) -> tuple[dict[str, Any], list[str]]:
    absent = [reason for name in ("immrax", "auto_LiRPA") if (reason := missing(name))]
    return {"networks_absent": absent}, [f"not run beside it: {reason}" for reason in absent]


PARTS = {
    "cost": Part(
        "cost of the switched model",
        lambda _: "cost to the original (256 -> 1024 -> 1, 16 particles)",
        ("source", "form", "work", "ms", "ratio", "quartiles"),
        3,
        costs,
        _cost_cells,
        broken=too_dear,
    ),
    "kernels": Part(
        "kernels against the limit",
        lambda _: "error * knots^(s+1) / limit, on all of R (s = 3 with a slope: |z| <= 2^20)",
        ("source", "s", "knots", "certified error", "to the limit", "scipy error", "scipy's"),
        1,
        kernel_figures,
        _kernel_cells,
    ),
    "constants": Part(
        "constants of the Taylor kernel",
        lambda _: "T_s in closed form, and by mpmath.quad between mpmath.diff's sign changes",
        ("source", "s", "enclosure", "width", "ms", "mpmath ms", "ratio", "mpmath's error"),
        1,
        constant_figures,
        _constant_cells,
        _constants_more,
    ),
    "norms": Part(
        "norms on an interval",
        lambda figures: f"exact norms on an interval, {figures[0].batch:,} a call, "
        f"{figures[0].lanes:,} side by side, on {figures[0].device}, jax {figures[0].jax}; and one "
        "linear program by HiGHS for each",
        ("source", "s", "its particles", "its error", "its s", "gap asked", "gap met", "values/s",
         "ratio", "rigorous ms"),
        1,
        norm_figures,
        _norm_cells,
        batched=True,
    ),
    "tighten": Part(
        "methods of optax on one bracket",
        lambda _: "relative gap of a norm after some steps of the optimiser (1e-11 asked for)",
        ("source", "s", "w", "b", "method", "steps", "relative gap", "ms a step"),
        5,
        tighten_figures,
        _tighten_cells,
    ),
    "networks": Part(
        "changes of networks",
        lambda _: "largest change of an output on a box: seen, proved, and what peers cannot "
        "rule out",
        ("network", "K", "attack", "bound", "ratio", "s", "joint bound", "its ratio", "its s",
         "|W|", "intervals", "CROWN", "CROWN's s"),
        1,
        compared_figures,
        _network_cells,
        _networks_more,
    ),
    "transformer": Part(
        "a transformer encoder",
        lambda figures: f"a GELU transformer encoder of {figures[0].parameters:,} parameters "
        "into ReLU",
        ("form", "sites", "certified", "find s", "all s", "least cosine", "mean cosine"),
        1,
        transformer_figures,
        _transformer_cells,
    ),
    "report": Part(
        "the report on a transformer encoder",
        lambda figures: f"the report on a GELU encoder of {figures[0].parameters:,} parameters "
        "into ReLU: loss over the sham's before and after a few steps",
        ("candidate", "certified", "change", "over sham, before", "after", "latency", "verdict"),
        1,
        report_figures,
        _report_cells,
        _report_more,
    ),
    "finetune": Part(
        "fine-tuning's cost, estimated and measured",
        lambda _: "steps until back within the tolerance: from a short run, and measured",
        ("case", "seen", "estimate", "interval", "measured", "holds"),
        1,
        finetune_figures,
        _finetune_cells,
        _finetune_more,
    ),
}  # fmt: skip
