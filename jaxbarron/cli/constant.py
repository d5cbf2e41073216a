"""``jaxbarron constant``: one entry of the atlas, and the closed forms behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxbarron.activations import Activation, activation
from jaxbarron.atlas import Embedding, embedding, pair_document
from jaxbarron.balls.notation import rounded_up
from jaxbarron.bounds.constants import taylor_constant, variation_constant
from jaxbarron.bounds.edges import natural_order
from jaxbarron.bounds.sharp import SharpConstant
from jaxbarron.bounds.sharp.closed_forms import closed_form
from jaxbarron.certificates import (
    AnyCertificate,
    WeightCertificate,
    constant_certificate,
    save,
    sharp_certificate,
)
from jaxbarron.cli.kernel import target_activation
from jaxbarron.cli.open_pairs import print_open
from jaxbarron.cli.output import check_writable, console, table, working, write_json
from jaxbarron.cli.sharp import (
    attained,
    attained_in_other_weight,
    gain,
    in_other_weight,
    parse_weight,
    proved,
    sharp_document,
    weight_gap,
)
from jaxbarron.errors import UsageError

__all__ = ["constant_command"]

_NOT_REACHED = "the relative gap asked for was not reached"


def constant_command(
    source: Annotated[str, typer.Argument(help="The activation to embed, e.g. tanh.")],
    target: Annotated[
        str | None, typer.Argument(help="The activation to embed it in. Left out: see --s.")
    ] = None,
    s: Annotated[
        int | None, typer.Option("--s", help="The target is RePU_s = max(0, z)^s.")
    ] = None,
    reach: Annotated[
        float | None, typer.Option("--reach", help="The cost of the Taylor kernel on |z| <= REACH.")
    ] = None,
    weight: Annotated[
        str | None,
        typer.Option("--weight", help="p of (1 + rho)^p (default: natural); bias-free; l2."),
    ] = None,
    sharp: Annotated[
        bool,
        typer.Option("--sharp", help="The sharp constant in RePU_s, and where it is attained."),
    ] = False,
    rel_gap: Annotated[
        float, typer.Option("--rel-gap", help="The relative gap that --sharp aims at.")
    ] = 1e-6,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result as JSON; - is stdout.")
    ] = None,
    save_file: Annotated[
        Path | None, typer.Option("--save", help="Write the certificate, for 'jaxbarron verify'.")
    ] = None,
) -> None:
    """Print the embedding constant of SOURCE in TARGET, as an interval with its proof.

    C is the least number with ||f||_TARGET <= C ||f||_SOURCE on the unit ball. For a target
    RePU_s the closed forms are printed too: T_s, the cost of the Taylor kernel on every reach,
    and A_s = TV(source^(s))/s!. With --reach, the cost of the Taylor kernel on that reach, which
    is finite for sin and cos too, is what --save writes. --sharp proves the constant in RePU_s to
    --rel-gap, and says where it is attained and what it gains over the Taylor kernel. --weight
    bias-free and l2 are the weights |w|^s and (w^2 + b^2)^(1/2) of both sides, with constants and
    certificates of their own.

    \b
      jaxbarron constant tanh relu
      jaxbarron constant gelu --s 2 --save gelu-repu2.json
      jaxbarron constant sin --s 1 --reach 4
      jaxbarron constant silu relu --sharp --rel-gap 1e-7
      jaxbarron constant tanh relu --sharp --weight l2 --save tanh-l2.json
    """
    sigma, tau = activation(source), target_activation(target, s)
    if reach is not None and tau.homogeneity is None:
        raise UsageError(
            f"given: --reach {reach} with the target {tau.name}; expected: a target RePU_s, whose "
            "Taylor kernel has a cost on a reach; do: leave --reach out, or give --s"
        )
    check_writable(json_file, save_file)
    parsed = parse_weight(weight)
    if reach is not None and (sharp or isinstance(parsed, str)):
        raise UsageError(
            "given: --reach with --sharp, bias-free or l2; expected: one of them; do: leave one out"
        )
    order = parsed if isinstance(parsed, int) else natural_order(tau)
    with working(f"{sigma.name} in {tau.name}"):
        rows = _closed_forms(sigma, tau.homogeneity, reach)
        found = embedding(sigma, tau, order=order)
        certificate = _certificate(found, reach)
        free = None
        if isinstance(parsed, str):
            free = in_other_weight(sigma, tau, parsed, rel_gap)
            name = f"C, {parsed} weights"
            theorem = f"Theorem {free.theorem}"
            rows.insert(0, _Row(name, free.lower, free.upper, theorem, free.reason))
            certificate = free
        best = None
        # what is infinite or has a closed form needs no search: the interval says it
        if sharp and free is None and found.lower < found.upper < math.inf:
            best = proved(sigma, tau, order, rel_gap)
            if best is not None:
                certificate = sharp_certificate(best)
                _add_sharp(rows, best)
    if save_file is not None:
        if certificate is None:
            raise UsageError(
                f"given: --save for {sigma.name} in {tau.name}, which is open; expected: a pair "
                "that is decided; do: leave --save out"
            )
        save(certificate, save_file)
    if json_file is not None:
        document: dict[str, Any] = {"schema": "jaxbarron-constant", "version": 1}
        document |= pair_document(found)
        document["closed_forms"] = [row.__dict__ for row in rows]
        document["sharp"] = None if best is None else sharp_document(best)
        write_json(document, json_file)
    if str(json_file) != "-":
        _print(found, rows)
        if best is not None:
            _print_sharp(best, rel_gap)
        elif sharp and free is None and found.lower < found.upper < math.inf:
            gap = found.upper / found.lower - 1 if found.lower else math.inf
            console().print(f"\n{_NOT_REACHED}: the interval above has {gap:.1e}", soft_wrap=True)
        if free is not None:
            _print_free(free, rel_gap)


@dataclass(frozen=True)
class _Row:
    name: str
    lower: float
    upper: float
    theorem: str
    reason: str


def _closed_forms(sigma: Activation, s: int | None, reach: float | None) -> list[_Row]:
    if s is None:
        return []
    named = [
        (f"T_{s}, Taylor kernel on every reach", taylor_constant(sigma, s)),
        (f"A_{s} = TV(sigma^({s}))/{s}!", variation_constant(sigma, s)),
    ]
    if reach is not None:
        local = taylor_constant(sigma, s, reach=reach)
        named.append((f"Taylor kernel on |z| <= {reach:g}", local))
    return [_Row(name, c.lower, c.upper, f"Theorem {c.theorem}", c.reason) for name, c in named]


def _add_sharp(rows: list[_Row], best: SharpConstant) -> None:
    rows.insert(0, _Row("C, sharp", best.lower, best.upper, best.theorem, ""))
    known = gain(best)
    if known is not None:
        name = "Taylor kernel and its polynomial"
        rows.append(_Row(name, 0.0, known[0], "Theorem Taylor cost", ""))


def _print_sharp(best: SharpConstant, rel_gap: float) -> None:
    out = console()
    out.print(f"\nattained {attained(best)}; relative gap {best.gap:.1e}", soft_wrap=True)
    if best.gap > rel_gap:
        out.print(f"{_NOT_REACHED}", soft_wrap=True)
    text = closed_form(best)
    if text:
        within = f"and C within {rounded_up(best.gap, 2)} of it, relatively"
        form = f"closed form of the lower bound: {text} (Theorem Closed constants), {within}"
        out.print(form, soft_wrap=True)
    known = gain(best)
    if known is not None:
        out.print(f"gain over the Taylor kernel: {known[1]:.4g} times", soft_wrap=True)


def _print_free(free: WeightCertificate, rel_gap: float) -> None:
    text = attained_in_other_weight(free)
    if text:
        console().print(f"\n{text}", soft_wrap=True)
        if weight_gap(free) > rel_gap:
            console().print(_NOT_REACHED, soft_wrap=True)


def _certificate(found: Embedding, reach: float | None) -> AnyCertificate | None:
    if reach is None:
        return found.certificate
    assert found.target.homogeneity is not None
    return constant_certificate(found.source, found.target.homogeneity, reach=reach)


def _print(found: Embedding, closed_forms: list[_Row]) -> None:
    out = console()
    if found.verdict == "embedded":
        steps = [found.source.name, *(edge.target.name for edge in found.route)]
        out.print(
            f"{found.source.name} embeds in {found.target.name} at order {found.order}: "
            f"{' -> '.join(steps)}\n",
            soft_wrap=True,
        )
    elif found.witness is not None:
        out.print(f"{found.witness.claim}\n", soft_wrap=True)
    else:
        print_open(found)
    rows = table("constant", "from", "to", "theorem", "level", right=("from", "to"))
    if found.verdict == "embedded":
        rows.add_row(
            "C, embedding", _digits(found.lower), _digits(found.upper), found.theorem, "rigorous"
        )
        for edge in found.route if len(found.route) > 1 else ():
            name = f"  {edge.source.name} -> {edge.target.name}"
            rows.add_row(name, "", _digits(edge.upper), edge.theorem, "rigorous")
        if found.direct is not None and (found.direct,) != found.route:
            rows.add_row(
                "  the direct edge",
                "",
                _digits(found.direct.upper),
                found.direct.theorem,
                "rigorous",
            )
    for row in closed_forms:
        rows.add_row(row.name, _digits(row.lower), _digits(row.upper), row.theorem, "rigorous")
    if rows.row_count:
        out.print(rows)
    for edge in found.route:
        out.print(f"\n{edge.formula}", soft_wrap=True)
    for row in closed_forms:
        if row.reason:
            out.print(f"\n{row.name}: {row.reason}", soft_wrap=True)


def _digits(value: float) -> str:
    return "infinite" if math.isinf(value) else repr(value)
