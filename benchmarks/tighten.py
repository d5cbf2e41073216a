"""The optimisers of optax on the same brackets: what gap each reaches, in how many steps.

The time of a step is that of a second run, without compilation.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import jaxbarron as jb
from jaxbarron.tighten import METHODS

__all__ = ["TightenFigure", "tighten_figures"]

_STEPS = 400
_GAP = 1e-11
# with and without excess, at small and large reach
_CASES = [
    ("gelu", 1, 1.0, 0.0), ("gelu", 2, 1.0, 0.0), ("gelu", 2, 20.0, 2.0), ("tanh", 1, 0.5, 0.3),
    ("tanh", 3, 2.0, 1.0), ("softplus", 2, 2.0, 0.5), ("silu", 3, 1.5, 0.2), ("silu", 3, 8.0, -0.5),
    ("softplus", 4, 3.0, 1.0), ("softplus", 4, 20.0, 2.0),
]  # fmt: skip


@dataclass(frozen=True)
class TightenFigure:
    """The gap that one method reaches on one norm."""

    source: str
    s: int
    spread: float
    offset: float
    method: str
    steps: int
    gap: float
    seconds_a_step: float


def tighten_figures(
    quick: bool, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[TightenFigure]:
    """Every method on every case; ``progress`` is given (there, wanted)."""
    cases = _CASES[:1] if quick else _CASES
    methods = ("lbfgs", "momentum") if quick else tuple(METHODS)
    wanted = list(itertools.product(cases, methods))
    figures: list[TightenFigure] = []
    for (source, s, spread, offset), method in wanted:
        figures.append(_figure(source, s, spread, offset, method))
        progress(len(figures), len(wanted))
    return figures


def _figure(source: str, s: int, spread: float, offset: float, method: str) -> TightenFigure:
    def run() -> jb.TightenResult:
        return jb.tighten(
            source, jb.repu(s), spread=spread, offset=offset, rel_gap=_GAP, steps=_STEPS,
            method=method,
        )  # fmt: skip

    run()
    start = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - start
    return TightenFigure(
        source, s, spread, offset, method, found.steps, found.gap, seconds / max(found.steps, 1)
    )
