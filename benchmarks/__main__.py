"""``python -m benchmarks [--quick] [--only cost|kernels|constants|tighten] [--json FILE]``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.constants import ConstantFigure, constant_figures, table_seconds
from benchmarks.cost import Cost, costs
from benchmarks.kernels import KernelFigure, kernel_figures
from benchmarks.machine import machine
from benchmarks.tighten import TightenFigure, tighten_figures
from jaxbarron.cli.output import check_writable, console, table, working, write_json

_COST = ("source", "form", "work", "ms", "ratio", "quartiles")
_CONSTANT = ("source", "s", "enclosure", "width", "ms", "mpmath ms", "ratio", "mpmath's error")
_TIGHTEN = ("source", "s", "w", "b", "method", "steps", "relative gap", "ms a step")
_KERNEL = ("source", "s", "knots", "certified error", "to the limit", "scipy error", "scipy's")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, for a test of the code")
    parser.add_argument(
        "--only", choices=("cost", "kernels", "constants", "tighten"), help="one of the parts"
    )
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


if __name__ == "__main__":
    main()
