"""``jaxbarron bracket``: the norm of one particle in the space of another activation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from jaxbarron.activations import activation
from jaxbarron.bounds.interval_norm import Bracket, interval_norm
from jaxbarron.certificates import certificate_of_bracket, save
from jaxbarron.cli.output import check_writable, console, working, write_json
from jaxbarron.errors import UnreachableTargetError, UsageError
from jaxbarron.norms import Weight

__all__ = ["bracket_command"]


def bracket_command(
    source: Annotated[str, typer.Argument(help="The activation of the particle, e.g. tanh.")],
    target: Annotated[str, typer.Argument(help="RePU_s: relu, repu2, ... or heaviside.")],
    spread: Annotated[
        float, typer.Option("--spread", help="R ||w||: half the range of w . x on the ball.")
    ] = 1.0,
    offset: Annotated[float, typer.Option("--offset", help="b.")] = 0.0,
    weight: Annotated[
        str, typer.Option("--weight", help="homogeneous, l2 or bias_free.")
    ] = "homogeneous",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result as JSON; - is stdout.")
    ] = None,
    save_file: Annotated[
        Path | None, typer.Option("--save", help="Write the certificate, for 'jaxbarron verify'.")
    ] = None,
) -> None:
    """Print the exact norm of SOURCE(w . x + b) in the Barron space of TARGET, between two bounds.

    It depends on w only through the spread R ||w||, in every dimension and for every norm of the
    ball. Both bounds are proved by ball arithmetic.

    \b
      jaxbarron bracket tanh repu2
      jaxbarron bracket gelu relu --spread 4 --offset -1 --save gelu.json
      jaxbarron bracket silu relu --weight l2 --json -
    """
    sigma, tau = activation(source), activation(_spelled(target))
    if tau.homogeneity is None:
        raise UnreachableTargetError(
            f"given: the target {tau.name}; expected: heaviside, relu, repu2, ...: the norm is "
            "exact for these; do: 'jaxbarron constant' bounds embeddings into other activations"
        )
    if weight not in get_args(Weight):
        raise UsageError(
            f"given: --weight {weight}; expected: homogeneous, l2 or bias_free; do: leave it out"
        )
    check_writable(json_file, save_file)
    with working(f"{sigma.name} in {tau.name}"):
        found = interval_norm(
            sigma, tau.homogeneity, spread=spread, offset=offset, weight=cast(Weight, weight),
            level="rigorous",
        )  # fmt: skip
    if save_file is not None:
        save(certificate_of_bracket(found), save_file)
    if json_file is not None:
        write_json(_document(found, sigma.name, tau.name, spread, offset), json_file)
    if str(json_file) != "-":
        _print(found, f"{sigma.name}({spread:g} y + {offset:g})", tau.name)


def _spelled(target: str) -> str:
    """``repu2`` as the registry writes it."""
    digits = target.removeprefix("repu")
    return f"repu({digits})" if target.startswith("repu") and digits.isdigit() else target


def _document(
    found: Bracket, source: str, target: str, spread: float, offset: float
) -> dict[str, Any]:
    return {
        "schema": "jaxbarron-bracket",
        "version": 1,
        "source": source,
        "target": target,
        "spread": spread,
        "offset": offset,
        "weight": found.weight,
        "lower": found.lower,
        "upper": found.upper,
        "gap": found.gap,
        "level": found.level,
        "theorem": found.theorem,
        "reason": found.reason,
        "density": None if found.found is None else float(found.found.density),
        "moments": [] if found.evidence is None else list(found.evidence.moments),
    }


def _print(found: Bracket, function: str, target: str) -> None:
    out = console()
    if math.isinf(found.lower):
        out.print(f"the norm of {function} in {target} is infinite: {found.reason}")
        return
    out.print(f"norm of {function}, |y| <= 1, in {target}, weight {found.weight}")
    out.print(f"  lower  {found.lower!r}\n  upper  {found.upper!r}")
    out.print(f"  gap    {found.gap:.1e} ({found.level}, {found.theorem})")
    if found.found is not None:
        density = float(found.found.density)
        share = density / found.upper if found.upper else 0.0
        out.print(f"  of it  {share:.4f} density part, {1 - share:.4f} polynomial excess")
    if found.reason:
        out.print(f"  {found.reason}", soft_wrap=True)
