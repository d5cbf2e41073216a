"""``python -m benchmarks [--quick] [--only PART] [--json FILE]``."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.constants import ConstantFigure, constant_figures, table_seconds
from benchmarks.cost import Cost, costs
from benchmarks.finetune import FineTuneFigure, finetune_figures
from benchmarks.kernels import KernelFigure, kernel_figures
from benchmarks.machine import machine
from benchmarks.networks import ComparedFigure, compared_figures
from benchmarks.norms import NormFigure, norm_figures
from benchmarks.peers import missing
from benchmarks.tighten import TightenFigure, tighten_figures
from benchmarks.transformer import TransformerFigure, transformer_figures
from jaxbarron.cli.output import check_writable, console, table, working, write_json

_PARTS = ("cost", "kernels", "constants", "finetune", "networks", "transformer", "norms", "tighten")
_FINETUNE = ("case", "seen", "estimate", "interval", "measured", "holds")
_COST = ("source", "form", "work", "ms", "ratio", "quartiles")
_CONSTANT = ("source", "s", "enclosure", "width", "ms", "mpmath ms", "ratio", "mpmath's error")
_NORM = ("source", "s", "program's error", "its s", "gap asked", "gap met", "values/s", "ratio",
         "rigorous ms")  # fmt: skip
_TIGHTEN = ("source", "s", "w", "b", "method", "steps", "relative gap", "ms a step")
_KERNEL = ("source", "s", "knots", "certified error", "to the limit", "scipy error", "scipy's")


_NETWORK = ("network", "K", "attack", "bound", "ratio", "s", "|W|", "intervals", "CROWN", "its s")
_TRANSFORMER = ("form", "sites", "certified", "find s", "all s", "least cosine", "mean cosine")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, for a test of the code")
    parser.add_argument("--only", choices=_PARTS, help="one of the parts")
    parser.add_argument("--json", type=Path, help="write the figures as JSON; - is stdout")
    return parser.parse_args()


def main() -> None:
    chosen = _arguments()
    check_writable(chosen.json)
    where = machine()
    document: dict[str, Any] = {
        "schema": "jaxbarron-benchmarks",
        "version": 1,
        "quick": chosen.quick,
        "machine": where,
    }
    out = console(stderr=str(chosen.json) == "-")
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    out.print(f"{where['processor']}, {where['cores']} cores; device {where['device']}; {versions}")
    if chosen.only in (None, "cost"):
        rows = table(*_COST, right=("ms", "ratio"))
        with working("cost of the switched model") as advance:
            measured = costs(chosen.quick, advance)
        for cost in measured:
            rows.add_row(*_cost_cells(cost))
        out.print("\ncost to the original (256 -> 1024 -> 1, 16 particles)")
        out.print(rows)
        document["cost"] = [asdict(cost) for cost in measured]
    if chosen.only in (None, "kernels"):
        rows = table(*_KERNEL, right=_KERNEL[1:])
        with working("kernels against the limit") as advance:
            figures = kernel_figures(chosen.quick, advance)
        for figure in figures:
            rows.add_row(*_kernel_cells(figure))
        out.print("\nerror * knots^(s+1) / limit, on all of R (s = 3 with a slope: |z| <= 2^20)")
        out.print(rows)
        document["kernels"] = [asdict(figure) for figure in figures]
    if chosen.only in (None, "constants"):
        rows = table(*_CONSTANT, right=_CONSTANT[1:])
        with working("constants of the Taylor kernel") as advance:
            found = constant_figures(chosen.quick, advance)
        for constant in found:
            rows.add_row(*_constant_cells(constant))
        entries, seconds = table_seconds()
        out.print("\nT_s in closed form, and by mpmath.quad between mpmath.diff's sign changes")
        out.print(rows)
        out.print(f"the whole table, {entries} entries: {seconds:.2f} s")
        document["constants"] = [asdict(constant) for constant in found]
        document["constants_table"] = {"entries": entries, "seconds": seconds}
    if chosen.only in (None, "finetune"):
        rows = table(*_FINETUNE, right=("seen", "estimate", "measured"))
        with working("fine-tuning's cost, estimated and measured") as advance:
            tuned = finetune_figures(chosen.quick, advance)
        for figure in tuned:
            rows.add_row(*_finetune_cells(figure))
        held = sum(figure.holds for figure in tuned)
        out.print("\nsteps until back within the tolerance: from a short run, and measured")
        out.print(rows)
        out.print(f"the interval holds the measured cost in {held} of {len(tuned)} cases")
        document["finetune"] = [asdict(figure) for figure in tuned]
    if chosen.only in (None, "networks"):
        rows = table(*_NETWORK, right=_NETWORK[1:])
        with working("changes of networks") as advance:
            compared = compared_figures(chosen.quick, advance)
        for network in compared:
            rows.add_row(*_network_cells(network))
        out.print(
            "\nlargest change of an output on a box: seen, proved, and what peers cannot rule out"
        )
        out.print(rows)
        absent = [reason for name in ("immrax", "auto_LiRPA") if (reason := missing(name))]
        for reason in absent:
            out.print(f"not run beside it: {reason}")
        document["networks"] = [asdict(network) for network in compared]
        document["networks_absent"] = absent
    if chosen.only in (None, "transformer", "tighten"):
        rows = table(*_TRANSFORMER, right=_TRANSFORMER[1:])
        with working("a transformer encoder") as advance:
            encoders = transformer_figures(chosen.quick, advance)
        for encoder in encoders:
            rows.add_row(*_transformer_cells(encoder))
        out.print(
            f"\na GELU transformer encoder of {encoders[0].parameters:,} parameters into ReLU"
        )
        out.print(rows)
        document["transformer"] = [asdict(encoder) for encoder in encoders]
    if chosen.only in (None, "norms"):
        rows = table(*_NORM, right=_NORM[1:])
        with working("norms on an interval") as advance:
            norms = norm_figures(chosen.quick, advance)
        for norm in norms:
            rows.add_row(*_norm_cells(norm))
        out.print("\nexact norms on an interval, and one linear program by HiGHS for each")
        out.print(rows)
        document["norms"] = [asdict(norm) for norm in norms]
    if chosen.only in (None, "tighten"):
        rows = table(*_TIGHTEN, right=("steps", "relative gap", "ms a step"))
        with working("methods of optax on one bracket") as advance:
            gaps = tighten_figures(chosen.quick, advance)
        for gap in gaps:
            rows.add_row(*_tighten_cells(gap))
        out.print("\nrelative gap of a norm after some steps of the optimiser (1e-11 asked for)")
        out.print(rows)
        document["tighten"] = [asdict(gap) for gap in gaps]
    if chosen.json is not None:
        write_json(document, chosen.json)


def _network_cells(figure: ComparedFigure) -> tuple[str, ...]:
    peers = (figure.products, figure.intervals, figure.crown, figure.crown_seconds)
    return (
        figure.name,
        str(figure.particles),
        f"{figure.attack:.3g}",
        f"{figure.bound:.3g}",
        f"{figure.bound / figure.attack:.2f}",
        f"{figure.seconds:.1f}",
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


if __name__ == "__main__":
    main()
