"""``jaxbarron atlas``: which activation embeds in which Barron space, at what constant."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from jaxbarron.activations import Activation, activation, registered_activations
from jaxbarron.atlas import Embedding, atlas_document, atlas_page, embeddings
from jaxbarron.balls.notation import rounded_down, rounded_up
from jaxbarron.bounds.edges import checked_order
from jaxbarron.certificates import save, write_atomically
from jaxbarron.cli.open_pairs import print_open
from jaxbarron.cli.output import check_writable, console, table, working, write_json
from jaxbarron.errors import UsageError

__all__ = ["atlas_command"]

_MOST_ROWS = 64  # pairs that are listed one by one


def atlas_command(
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Only this activation; may be repeated.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Only into this one; may be repeated.")
    ] = None,
    weight: Annotated[
        str,
        typer.Option(
            "--weight",
            help="p of the weight (1 + rho)^p; 'natural': s for a target RePU_s, else 1.",
        ),
    ] = "natural",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result as JSON; - is stdout.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write one page with graph, matrix and pairs.")
    ] = None,
    save_folder: Annotated[
        Path | None, typer.Option("--save", help="Write every certificate into this folder.")
    ] = None,
) -> None:
    """Print which activation embeds in which Barron space, with the constants.

    Every pair is one of: embedded, with an interval for the constant C in
    ||f||_target <= C ||f||_source on the unit ball of any norm; not embedded, with a witness;
    or open. Every verdict is a certificate that 'jaxbarron verify' derives again. The gain is what
    the paper's kernel costs over the sharp constant; '-' where one of the two is not known.

    \b
      jaxbarron atlas
      jaxbarron atlas --source tanh --source gelu --target relu
      jaxbarron atlas --html atlas.html --json atlas.json --save certificates
    """
    order = _order(weight)
    check_writable(json_file, html_file)
    if save_folder is not None:
        save_folder.mkdir(parents=True, exist_ok=True)
    sources, targets = _members(source), _members(target)
    with working("embeddings") as advance:
        found = embeddings(sources, targets, order=order, progress=advance)
    if save_folder is not None:
        _save(found, save_folder)
    version = importlib.metadata.version("jaxbarron")
    if json_file is not None:
        write_json(atlas_document(found, version), json_file)
    if html_file is not None:
        with working("page"):
            page = atlas_page(atlas_document(found, version, full=True))
        write_atomically(html_file, page.encode())
    if str(json_file) != "-":
        if len(found) <= _MOST_ROWS:
            _print_pairs(found)
        else:
            _print_map(found)


def _order(weight: str) -> int | None:
    if weight == "natural":
        return None
    if not re.fullmatch(r"\d{1,3}", weight):
        raise UsageError(
            f"given: --weight {weight}; expected: a whole number from 1 to 16, or 'natural'; do: "
            "e.g. --weight 1"
        )
    return checked_order(int(weight))


def _members(names: Sequence[str] | None) -> tuple[Activation, ...]:
    return tuple(map(activation, names)) if names else registered_activations()


def _save(found: Sequence[Embedding], folder: Path) -> None:
    for one in found:
        if one.certificate is not None:
            name = f"{one.source.name}-{one.target.name}-{one.order}.json"
            save(one.certificate, folder / name)


def _print_pairs(found: Sequence[Embedding]) -> None:
    out = console()
    rows = table(
        "source", "target", "p", "verdict", "C >=", "C <=", "gain", "level", "theorem", "route",
        right=("p", "C >=", "C <=", "gain"),
    )  # fmt: skip
    for one in found:
        embedded = one.verdict == "embedded"
        rows.add_row(
            one.source.name,
            one.target.name,
            str(one.order),
            one.verdict,
            rounded_down(one.lower, 6) if embedded and one.lower > 0 else "",
            rounded_up(one.upper, 6) if embedded else "",
            "-" if one.gain is None else f"{one.gain:.4g}",
            "rigorous" if one.verdict != "open" else "",
            one.theorem.removeprefix("Theorem "),
            " -> ".join([one.source.name, *(e.target.name for e in one.route)]) if embedded else "",
        )
    out.print(rows)
    for one in found:
        if one.witness is not None:
            out.print(f"\n{one.witness.claim}", soft_wrap=True)
        if one.verdict == "open":
            out.print()
            print_open(one)


def _print_map(found: Sequence[Embedding]) -> None:
    """One row a source: where it embeds, with the upper bounds of the constants; where not."""
    out = console()
    counts = {v: sum(e.verdict == v for e in found) for v in ("embedded", "not embedded", "open")}
    rows = table("source", "embeds in (C <=)", "does not embed in", "open")
    for sigma in dict.fromkeys(e.source for e in found):
        mine = [e for e in found if e.source == sigma and e.target != sigma]
        rows.add_row(
            sigma.name,
            ", ".join(
                f"{e.target.name} {rounded_up(e.upper, 4)}" for e in mine if e.verdict == "embedded"
            ),
            ", ".join(e.target.name for e in mine if e.verdict == "not embedded"),
            ", ".join(e.target.name for e in mine if e.verdict == "open"),
        )
        rows.add_section()
    out.print(rows)
    out.print(
        f"\n{len(found)} pairs: {counts['embedded']} embedded, {counts['not embedded']} not "
        f"embedded, {counts['open']} open. Constants are rigorous upper bounds; --source, --target "
        "or --json show both ends, --html the proofs.",
        soft_wrap=True,
    )
