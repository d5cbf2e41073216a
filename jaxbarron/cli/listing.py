"""``jaxbarron activations``: what the library knows by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jaxbarron.activations import Line, registered_activations
from jaxbarron.cli.output import check_writable, console, table, write_json

__all__ = ["activations_command"]


def activations_command(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the list as JSON; - is stdout.")
    ] = None,
) -> None:
    """List the registered activations with the facts that the theory uses.

    A name with a parameter takes any value of it, such as leaky_relu(0.2), softplus(2), repu(4).
    Lines are the asymptotes at -infinity and +infinity: a kernel on all of R needs both. From
    Python, any scalar JAX function of your own serves as well.

    \b
      jaxbarron activations
      jaxbarron activations --json -
    """
    check_writable(json_file)
    members = registered_activations()
    if json_file is not None:
        entries = [
            {
                "name": sigma.name,
                "family": sigma.family,
                "parity": sigma.parity,
                "homogeneity": sigma.homogeneity,
                "kinks": [kink.location for kink in sigma.kinks],
                "left": _fields(sigma.left),
                "right": _fields(sigma.right),
            }
            for sigma in members
        ]
        document = {"schema": "jaxbarron-activations", "version": 1, "activations": entries}
        write_json(document, json_file)
    if str(json_file) != "-":
        rows = table("name", "family", "parity", "kinks", "line at -inf", "line at +inf")
        for sigma in members:
            kinks = ", ".join(f"{kink.location:g}" for kink in sigma.kinks)
            lines = _words(sigma.left), _words(sigma.right)
            rows.add_row(sigma.name, sigma.family, sigma.parity or "-", kinks or "-", *lines)
        console().print(rows)


def _fields(line: Line | None) -> dict[str, float] | None:
    return None if line is None else {"slope": line.slope, "intercept": line.intercept}


def _words(line: Line | None) -> str:
    if line is None:
        return "-"
    if line.slope == 0:
        return f"{line.intercept:.6g}"
    slope = "z" if line.slope == 1 else f"{line.slope:.6g} z"
    return slope if line.intercept == 0 else f"{slope} {line.intercept:+.6g}"
