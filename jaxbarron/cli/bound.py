"""``jaxbarron bound``: a model of the user's, and a proof of how far a switch moves its outputs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import typer

from jaxbarron.balls.notation import rounded_up
from jaxbarron.certificates import NetworkCertificate, save
from jaxbarron.cli.output import check_writable, console, table, working, write_json
from jaxbarron.cli.own_model import load_data, load_metric, load_model
from jaxbarron.domains import Ball
from jaxbarron.errors import ToleranceError, UsageError
from jaxbarron.switching import end_to_end_certificate, share_tolerance

__all__ = ["bound_command"]

_PART = "largest change that its error can make"
_NORMS = {"inf": math.inf, "2": 2.0, "1": 1.0}


def bound_command(
    model: Annotated[
        str,
        typer.Option("--model", help="package.module:factory, as for jaxbarron switch."),
    ],
    data: Annotated[Path, typer.Option("--data", help="An npz file with inputs and labels.")],
    radius: Annotated[
        float, typer.Option("--radius", help="How far each input may be from the example.")
    ],
    source: Annotated[str, typer.Option("--from", help="Activation to replace.")],
    to: Annotated[str, typer.Option("--to", help="Target activation.")],
    norm: Annotated[str, typer.Option("--norm", help="Of the radius: inf, 2 or 1.")] = "inf",
    example: Annotated[int, typer.Option("--example", help="Which example of the data.")] = 0,
    metric: Annotated[
        str, typer.Option("--metric", help="accuracy bounds margins too; mse or mae does not.")
    ] = "accuracy",
    tol: Annotated[
        float | None, typer.Option("--tol", help="Largest certified error at each site.")
    ] = None,
    particles: Annotated[
        int | None, typer.Option("--particles", help="Size of each kernel, instead.")
    ] = None,
    output_tol: Annotated[
        float | None,
        typer.Option("--output-tol", help="Instead: of the outputs; shared out over the sites."),
    ] = None,
    joint: Annotated[
        int,
        typer.Option(
            "--joint", help="Steps in search of a smaller bound over all neurons; 0: none."
        ),
    ] = 0,
    branches: Annotated[
        int,
        typer.Option(
            "--branches", help="Parts in which the region may be cut, each bounded; for few inputs."
        ),
    ] = 1,
    save_file: Annotated[
        Path | None,
        typer.Option("--save", help="Write the certificate; its arrays go beside the file."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures as JSON; - is stdout.")
    ] = None,
) -> None:
    """Prove how far a switch can move the outputs around an example of the data.

    For every input within RADIUS of the example: a bound on the change of each output, and with
    accuracy the margin by which a class must lead to stay the class. Beyond a primitive without a
    rule the proof ends, and 256 random inputs are observed instead.

    \b
      jaxbarron bound --model net:make --data val.npz --from gelu --to relu --radius 0.05 --tol 1e-3
      jaxbarron bound --model net:make --data val.npz --from gelu --to relu --radius 0.05 \\
          --output-tol 0.01 --save bound.json && jaxbarron verify bound.json
      jaxbarron bound --model net:make --data val.npz --from gelu --to relu --radius 0.05 \\
          --particles 17 --joint 150 --branches 64
    """
    _check(radius, norm, tol, particles, output_tol)
    check_writable(json_file, save_file)
    measure = load_metric(metric, None)
    inputs, labels = load_data(data, measure)
    if not 0 <= example < len(inputs):
        raise UsageError(
            f"given: --example {example} of {len(inputs)}; expected: its place, from 0; do: e.g. "
            "--example 0"
        )
    own = load_model(model, inputs, labels, measure, 256)
    args = own.parameters, jnp.asarray(own.inputs[example : example + 1])
    ball = Ball(radius, ord=_NORMS[norm])
    rules: dict[Any, Any] = {source: to}
    with working("bounding the change") as advance:
        if output_tol is not None:
            shared = share_tolerance(
                own.apply, rules, *args, output_tol=output_tol, ball=ball, argument=1
            )
            rules = dict(shared.rules)
        certificate = end_to_end_certificate(
            own.apply, rules, *args, ball=ball, argument=1, classes=metric == "accuracy",
            joint=joint, branches=branches, progress=advance, key=jax.random.key(0), tol=tol,
            particles=particles,
        )  # fmt: skip
    if save_file is not None:
        save(certificate, save_file)
    if json_file is not None:
        write_json(_document(certificate, model, radius, norm, example), json_file)
    if str(json_file) != "-":
        _print(certificate)


def _check(
    radius: float,
    norm: str,
    tol: float | None,
    particles: int | None,
    output_tol: float | None,
) -> None:
    if not (math.isfinite(radius) and radius > 0):
        raise ToleranceError(
            f"given: --radius {radius}; expected: a finite number > 0; do: e.g. --radius 0.05"
        )
    if norm not in _NORMS:
        raise UsageError(f"given: --norm {norm}; expected: inf, 2 or 1; do: leave it out for inf")
    if sum(x is not None for x in (tol, particles, output_tol)) > 1:
        raise UsageError(
            "given: more than one of --tol, --particles and --output-tol; expected: one; do: "
            "choose the error at a site, the size of a kernel, or the change of the outputs"
        )


def _document(
    certificate: NetworkCertificate, model: str, radius: float, norm: str, example: int
) -> dict[str, Any]:
    bound, classes = certificate.bound, certificate.bound.classes
    return {
        "schema": "jaxbarron-bound",
        "version": 1,
        "model": model,
        "radius": radius,
        "norm": norm,
        "example": example,
        "level": certificate.level,
        "theorem": certificate.theorem,
        "claim": certificate.claim,
        "ends_at": bound.ends_at,
        "upper": _finite(certificate.upper),
        "branches": 1 if bound.branches is None else len(bound.branches.leaf) + 1,
        "seen": certificate.lower,
        "same_class": None if classes is None else classes.same,
        "delta": None if classes is None else _finite(classes.largest_delta),
        "sites": [{"path": path, "part": _finite(part)} for path, part in bound.by_site],
    }


def _finite(x: float) -> float | None:
    return x if np.isfinite(x) else None


def _print(certificate: NetworkCertificate) -> None:
    out = console()
    rows = table("site", _PART, right=(_PART,))
    for path, part in certificate.bound.by_site:
        rows.add_row(path, rounded_up(part))
    out.print(rows)
    out.print(f"{certificate.level}: {certificate.claim}", soft_wrap=True)
    out.print(f"largest change seen at {certificate.observed.points} random inputs: "
              f"{certificate.lower:.4g}" if certificate.observed else "")  # fmt: skip
