"""What the command line says of an open pair: the best known approximations."""

from __future__ import annotations

from jaxbarron.atlas import Embedding, best_approximations
from jaxbarron.balls.notation import rounded_up
from jaxbarron.cli.output import console, table

__all__ = ["print_open"]


def print_open(one: Embedding) -> None:
    """That nothing is known, and the error against the norm of what comes closest."""
    out = console()
    out.print(
        f"{one.source.name} in {one.target.name} at order {one.order} is open: neither an "
        "embedding nor a proof against one is known. Best known approximations on |z| <= 1:",
        soft_wrap=True,
    )
    rows = table("norm", "error", "level", right=("norm", "error"))
    for known in best_approximations(one.source, one.target, one.order):
        rows.add_row(rounded_up(known.norm, 6), rounded_up(known.error, 4), known.level)
    out.print(rows)
