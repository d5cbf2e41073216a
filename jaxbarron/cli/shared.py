"""``jaxbarron switch --output-tol``: kernels that keep the outputs within one tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.balls.notation import rounded_up
from jaxbarron.cli.output import working
from jaxbarron.domains import Box
from jaxbarron.errors import UsageError
from jaxbarron.report.subject import OwnModel
from jaxbarron.switching import Replacement, share_tolerance, switch

__all__ = ["PROBE", "SharedPlan", "shared_plan"]

PROBE = 16  # particles with which it is seen beforehand that the target can be reached
_MOST = 512  # examples at which a change is measured


@dataclass(frozen=True, eq=False)
class SharedPlan:
    """What becomes of which site, and in words what the outputs keep."""

    planned: tuple[Replacement, ...]
    words: str


def shared_plan(
    model: OwnModel, rules: Mapping[Any, Any], output_tol: float, radius: float | None
) -> SharedPlan:
    """Share a tolerance at the outputs out over the sites of a model on its data.

    With a radius the change is proved in the box around the example whose outputs a switch at 16
    particles moves most; without one, and where the bound ends, it is measured on examples.

    Raises:
        UsageError: inputs that are no real numbers.
        The errors of :func:`jaxbarron.share_tolerance`.
    """
    if not jnp.issubdtype(model.inputs.dtype, jnp.floating):
        raise UsageError(
            f"given: --output-tol for inputs of dtype {model.inputs.dtype}; expected: real inputs; "
            "do: choose --tol or --particles"
        )
    rows = np.unique(np.linspace(0, len(model.inputs) - 1, _MOST).astype(int))
    samples = model.inputs[rows][:, None]
    place, box = 0, None
    with working("sharing the tolerance out"):
        if radius is not None:
            place = int(rows[_most_moved(model, rules, samples)])
            flat = np.asarray(model.inputs[place], np.float64).ravel()
            box = Box(flat - radius, flat + radius)
        shared = share_tolerance(
            model.apply, rules, model.parameters, model.inputs[place : place + 1],
            output_tol=output_tol, box=box, samples=samples, argument=1,
        )  # fmt: skip
    where = f"at {len(rows):,} examples of the data"
    if shared.level == "rigorous":
        where = f"for every input within {radius:g} of example {place}"
    why = "" if shared.unproved is None else f"; no proof: {shared.unproved}"
    change = rounded_up(shared.change)
    return SharedPlan(
        shared.planned,
        f"{shared.level}: no output changes by more than {change} {where}{why}",
    )


def _most_moved(model: OwnModel, rules: Mapping[Any, Any], samples: Any) -> int:
    new = switch(model.apply, dict(rules), particles=PROBE)

    @jax.jit
    def moved(parameters: Any, x: Any) -> Any:
        return jnp.max(jnp.abs(new(parameters, x) - model.apply(parameters, x)))

    return int(np.argmax([float(moved(model.parameters, x)) for x in samples]))
