"""An edge of the atlas: one proof that one activation embeds in another."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxbarron.activations import Activation

__all__ = ["Edge", "make_edge"]


@dataclass(frozen=True)
class Edge:
    """The embedding constant from ``source`` to ``target`` is at most ``upper``.

    Attributes:
        source: sigma.
        target: tau.
        order: p, of the weight ``(1 + rho)^p`` of every activation but RePU_s.
        rule: the name of the rule, a key of ``RULES``.
        upper: the bound, rounded up.
        theorem: the theorem of THEORY.md that proves it.
        formula: the kernel.
    """

    source: Activation
    target: Activation
    order: int
    rule: str
    upper: float
    theorem: str
    formula: str


def make_edge(
    source: Activation, target: Activation, order: int, rule: str, upper: float, theorem: str,
    formula: str,
) -> Edge | None:  # fmt: skip
    """The edge; None where the bound is infinite."""
    if not math.isfinite(upper):
        return None
    return Edge(source, target, order, rule, upper, theorem, formula)
