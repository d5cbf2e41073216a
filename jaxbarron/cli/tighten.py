"""``jaxbarron tighten``: a norm between two bounds that optax closes, kept on disk."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import Annotated

import jax
import typer

from jaxbarron.activations import activation
from jaxbarron.cli.kernel import target_activation
from jaxbarron.cli.output import check_writable, console, table, working, write_json
from jaxbarron.norms import Weight
from jaxbarron.tighten import Step, TightenResult, tighten

__all__ = ["tighten_command"]


def tighten_command(
    source: Annotated[str, typer.Argument(help="The activation whose norm is sought, e.g. gelu.")],
    target: Annotated[
        str | None, typer.Argument(help="RePU_s: relu, repu(2), ... Left out: see --s.")
    ] = None,
    s: Annotated[
        int | None, typer.Option("--s", help="The target is RePU_s = max(0, z)^s.")
    ] = None,
    spread: Annotated[
        float, typer.Option("--spread", help="w of source(w y + b), |y| <= 1.")
    ] = 1.0,
    offset: Annotated[float, typer.Option("--offset", help="b of source(w y + b).")] = 0.0,
    weight: Annotated[
        str, typer.Option("--weight", help="homogeneous, l2 or bias_free.")
    ] = "homogeneous",
    rel_gap: Annotated[float, typer.Option("--rel-gap", help="Stop at this relative gap.")] = 1e-9,
    steps: Annotated[int, typer.Option("--steps", help="At most so many steps.")] = 1000,
    method: Annotated[
        str, typer.Option("--method", help="lbfgs, adam, momentum or optimistic.")
    ] = "lbfgs",
    seed: Annotated[int, typer.Option("--seed", help="Of the first step.")] = 0,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="A folder that always holds the bracket.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder of --checkpoint.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result as JSON; - is stdout.")
    ] = None,
) -> None:
    """Bracket the norm of SOURCE(w y + b) on |y| <= 1 in the space of RePU_s.

    Both bounds hold after every step; optax moves them towards each other. Ctrl-C stops with the
    bracket reached so far; with --checkpoint it is on disk even if the process is killed.
    Exit status: 0 a bracket was printed, whether or not the gap was met; 2 bad usage or input.

    \b
      jaxbarron tighten gelu relu --spread 3
      jaxbarron tighten tanh --s 2 --checkpoint run --steps 200
      jaxbarron tighten tanh --s 2 --checkpoint run --resume
    """
    sigma, tau = activation(source), target_activation(target, s)
    check_writable(json_file)
    history: list[Step] = []
    found: TightenResult | None = None
    chosen: Weight = weight  # pyright: ignore[reportAssignmentType]  # GaugeBody checks the name
    stopped = False

    def stop(*_: object) -> None:
        # A chunk takes less than a second and may be writing its checkpoint: it is let finish. A
        # second Ctrl-C does not wait.
        nonlocal stopped
        stopped = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, stop)
    try:
        with working(f"{sigma.name} in {tau.name}") as advance:

            def show(step: Step) -> None:
                history.append(step)
                advance(step.steps - history[0].steps, steps)
                if stopped:
                    raise KeyboardInterrupt

            found = tighten(
                sigma, tau, weight=chosen, spread=spread, offset=offset, rel_gap=rel_gap,
                steps=steps, method=method, key=jax.random.key(seed), progress=show,
                checkpoint=checkpoint, resume=resume,
            )  # fmt: skip
    except KeyboardInterrupt:
        if not history:
            raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGINT, before)
    end = history[-1] if history else Step(0, math.inf, math.inf)
    gap = 0.0 if end.lower == end.upper else (end.upper - end.lower) / end.upper
    if json_file is not None:
        document: dict[str, object] = {
            "schema": "jaxbarron-tighten-result",
            "version": 1,
            "source": sigma.name,
            "target": tau.name,
            "spread": spread,
            "offset": offset,
            "weight": weight,
            "method": method,
            "steps": end.steps,
            "lower": end.lower,
            "upper": end.upper,
            "gap": gap,
            "met": found is not None and found.met,
            "interrupted": found is None,
            "level": "float",
            "reason": found.reason if found is not None else "",
            "history": [list(step) for step in history],
        }
        write_json(document, json_file)
    if str(json_file) != "-":
        _print(history, found, gap, rel_gap)


def _print(history: list[Step], found: TightenResult | None, gap: float, rel_gap: float) -> None:
    out = console()
    if found is not None and found.reason:
        out.print(f"the norm is infinite: {found.reason}")
        return
    columns = ("steps", "lower", "upper", "relative gap")
    rows = table(*columns, right=columns)
    for step in history:
        width = (step.upper - step.lower) / step.upper if step.upper else 0.0
        rows.add_row(str(step.steps), repr(step.lower), repr(step.upper), f"{width:.2e}")
    out.print(rows)
    if found is None:
        out.print(f"\nstopped by hand at a relative gap of {gap:.2e} (float; Theorem Tightening)")
    elif found.met:
        out.print(f"\nrelative gap {gap:.2e} (float; THEORY.md, {found.theorem})")
    else:
        out.print(
            f"\nrelative gap {gap:.2e}, not the {rel_gap:g} asked for; the bracket holds all the "
            f"same (float; THEORY.md, {found.theorem})"
        )
