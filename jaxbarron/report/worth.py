"""Before and after in latency, work, memory, parameters and zeros."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxbarron.activations import Activation
from jaxbarron.report.candidates import Way
from jaxbarron.report.data import Sparsity, Worth
from jaxbarron.report.recording import Observed
from jaxbarron.report.subject import OwnModel
from jaxbarron.report.tools import tool_answers
from jaxbarron.report.training import flops_of
from jaxbarron.switching import Site
from jaxbarron.switching.validate import paired_latency

__all__ = ["Call", "call_of", "sparsity_of", "worth_of"]


@dataclass(frozen=True, eq=False)
class Call:
    """One compiled call of a model.

    Attributes:
        run: the executable.
        arguments: what it is called with.
        flops: as XLA counts them; None where it counts none.
        memory: bytes of temporaries and outputs; None where XLA does not say.
    """

    run: Callable[..., Any]
    arguments: tuple[Any, ...]
    flops: float | None
    memory: int | None


def call_of(fn: Callable[..., Any], *arguments: Any) -> Call:
    """Compile a call and read what XLA says of it.

    Example:
        >>> call_of(lambda x: x @ x, np.ones((8, 8), np.float32)).flops
        1024.0
    """
    compiled = jax.jit(fn).lower(*arguments).compile()
    analysis = compiled.memory_analysis()
    memory = None
    if analysis is not None:
        memory = int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)
    return Call(compiled, arguments, flops_of(fn, *arguments), memory)


def worth_of(
    model: OwnModel,
    before: Call,
    way: Way,
    sites: Sequence[Site],
    pairs: int,
    sparsity: Sparsity | None,
    progress: Callable[[int, int], None] | None = None,
) -> Worth:
    """What one way of switching costs and saves.

    Args:
        model: the model on its data.
        before: a call of the model.
        way: what becomes of which site.
        sites: all sites of the model.
        pairs: how many pairs of calls are timed.
        sparsity: from :func:`sparsity_of`.
        progress: called with (pairs done, pairs).
    """
    after = call_of(way.switched(model.apply), *before.arguments)
    latency = paired_latency(
        before.run, after.run, *before.arguments, pairs=pairs, progress=progress
    )
    numbers = sum(int(np.size(x)) for x in jax.tree.leaves(model.parameters))
    replaced = {plan.site.path for plan in way.planned}
    staying: list[Activation] = [x.activation for x in sites if x.path not in replaced]
    tools = tool_answers(
        [x.activation for x in sites],
        [*staying, *(plan.target for plan in way.planned)],
        way.particles,
    )
    flops = before.flops, after.flops
    memory = before.memory, after.memory
    return Worth(
        latency,
        len(before.arguments[-1]),
        None if flops[0] is None or flops[1] is None else (flops[0], flops[1]),
        None if memory[0] is None or memory[1] is None else (memory[0], memory[1]),
        (numbers, numbers + way.numbers),
        sparsity,
        tools,
    )


def sparsity_of(found: Mapping[str, Observed]) -> Sparsity | None:
    """The share of exact zeros over all sites; None without any."""
    count = sum(seen.count for seen in found.values())
    if not count:
        return None
    zeros = np.sum([seen.zeros for seen in found.values()], axis=0)
    return Sparsity(float(zeros[0] / count), float(zeros[1] / count))
