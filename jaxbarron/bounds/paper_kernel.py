"""What the kernels that were known before cost: of Taylor at 0, and of the hierarchy."""

from __future__ import annotations

import functools
import math

from jaxbarron.activations import Activation
from jaxbarron.balls.outward import sum_up
from jaxbarron.bounds.constants import polynomial_part, taylor_constant
from jaxbarron.kernels import hierarchy_constant

__all__ = ["paper_constant"]


@functools.lru_cache(maxsize=4096)
def paper_constant(source: Activation, target: Activation, order: int) -> float | None:
    """An upper bound of the constant of the paper's kernel, or None where there is none.

    Into RePU_s, s >= 1, at order s: the Taylor kernel at 0 with its polynomial part (Theorem Taylor
    cost), and for a source RePU_t, t > s, that of Theorem Hierarchy.

    Args:
        source: sigma.
        target: tau.
        order: p of the weight.

    Example:
        >>> from jaxbarron.activations import activation
        >>> round(paper_constant(activation("tanh"), activation("relu"), 1), 4)
        4.4768
    """
    s, t = target.homogeneity, source.homogeneity
    if not s or (t is None and order != s):
        return None
    if t is not None:
        return float(hierarchy_constant(t, s)) if t > s else None
    cost = sum_up(taylor_constant(source, s).upper, polynomial_part(source, s).upper)
    return cost if math.isfinite(cost) else None
