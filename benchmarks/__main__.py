"""``python -m benchmarks [--quick] [--only cost|kernels] [--json FILE]``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.cost import Cost, costs
from benchmarks.kernels import KernelFigure, kernel_figures
from benchmarks.machine import machine
from jaxbarron.cli.output import check_writable, console, table, working, write_json

_COST = ("source", "form", "work", "ms", "ratio", "quartiles")
_KERNEL = ("source", "s", "knots", "certified error", "to the limit", "scipy error", "scipy's")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, for a test of the code")
    parser.add_argument("--only", choices=("cost", "kernels"), help="one of the two parts")
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
    if chosen.only != "kernels":
        rows = table(*_COST, right=("ms", "ratio"))
        with working("cost of the switched model") as advance:
            measured = costs(chosen.quick, advance)
        for cost in measured:
            rows.add_row(*_cost_cells(cost))
        out.print("\ncost to the original (256 -> 1024 -> 1, 16 particles)")
        out.print(rows)
        document["cost"] = [asdict(cost) for cost in measured]
    if chosen.only != "cost":
        rows = table(*_KERNEL, right=_KERNEL[1:])
        with working("kernels against the limit") as advance:
            figures = kernel_figures(chosen.quick, advance)
        for figure in figures:
            rows.add_row(*_kernel_cells(figure))
        out.print("\nerror * knots^(s+1) / limit, on all of R (s = 3 with a slope: |z| <= 2^20)")
        out.print(rows)
        document["kernels"] = [asdict(figure) for figure in figures]
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
