"""Before and after in latency, work, memory, parameters and zeros."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

__all__ = ["sparsity_of", "worth_of"]


def worth_of(
    model: OwnModel,
    way: Way,
    sites: Sequence[Site],
    batch: Any,
    pairs: int,
    sparsity: Sparsity | None,
    progress: Callable[[int, int], None] | None = None,
) -> Worth:
    """What one way of switching costs and saves.

    Args:
        model: the model on its data.
        way: what becomes of which site.
        sites: all sites of the model.
        batch: rows for one call.
        pairs: how many pairs of calls are timed.
        sparsity: from :func:`sparsity_of`.
        progress: called with (pairs done, pairs).
    """
    before, after = jax.jit(model.apply), jax.jit(way.switched(model.apply))
    arguments = model.parameters, batch
    latency = paired_latency(before, after, *arguments, pairs=pairs, progress=progress)
    flops: list[float | None] = [flops_of(fn, *arguments) for fn in (before, after)]
    memory = [_memory(fn, *arguments) for fn in (before, after)]
    numbers = sum(int(np.size(x)) for x in jax.tree.leaves(model.parameters))
    replaced = {plan.site.path for plan in way.planned}
    staying: list[Activation] = [x.activation for x in sites if x.path not in replaced]
    tools = tool_answers(
        [x.activation for x in sites],
        [*staying, *(plan.target for plan in way.planned)],
        way.particles,
    )
    return Worth(
        latency,
        len(batch),
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


def _memory(fn: Any, *args: Any) -> int | None:
    """Bytes of temporaries and outputs of one compiled call; None where XLA does not say."""
    analysis = fn.lower(*args).compile().memory_analysis()
    if analysis is None:
        return None
    return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)
