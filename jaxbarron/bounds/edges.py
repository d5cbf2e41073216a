"""Embeddings that one rule of the theory gives: upper bounds on the constant, one rule a function.

On the unit ball of any norm, ``||f||_(B_tau) <= C ||f||_(B_sigma)`` with RePU_s weighted by
``rho^s`` and every other activation by ``(1 + rho)^p`` (THEORY.md, Theorem Embedding constant).  An
edge is a proof of one such C; paths of edges multiply (Theorem Chain).
"""

from __future__ import annotations

from collections.abc import Callable

from jaxbarron.activations import Activation
from jaxbarron.bounds.density_edges import growing_reach, taylor
from jaxbarron.bounds.edge import Edge
from jaxbarron.bounds.erf_edges import correction, gaussian_particles, poisson, strip
from jaxbarron.bounds.finite_edges import hierarchy, linear_combination, unit
from jaxbarron.bounds.heat_edges import heat, mixture
from jaxbarron.bounds.ramps import cancelling_kinks, ramp
from jaxbarron.bounds.reach_cells import reach_cells
from jaxbarron.bounds.sharp_edges import one_reach, proved_one_reach
from jaxbarron.bounds.unit_edges import inverse_convolution, resolvent, spectrum
from jaxbarron.errors import UsageError

__all__ = ["RULES", "Edge", "checked_order", "edges", "natural_order"]


def natural_order(target: Activation) -> int:
    """The order at which a target is usually asked for: s for RePU_s, s >= 1, and 1 otherwise."""
    return max(target.homogeneity or 1, 1)


def edges(source: Activation, target: Activation, order: int) -> tuple[Edge, ...]:
    """Every embedding of the pair that one rule proves, the smallest bound first.

    Where the table of sharp constants holds the pair, that edge alone, as the table says.

    Args:
        source: sigma.
        target: tau.
        order: p >= 1.

    Raises:
        UsageError: ``order`` is not a whole number from 1 to 16.

    Example:
        >>> from jaxbarron.activations import activation
        >>> found = edges(activation("tanh"), activation("sigmoid"), 1)[0]
        >>> found.rule, found.upper
        ('linear combination', 4.0)
    """
    checked_order(order)
    sharp = one_reach(source, target, order)
    if sharp is not None:
        # nothing else is smaller; a certificate of it is checked by the proof itself
        return (sharp,)
    found = [rule(source, target, order) for rule in RULES.values()]
    return tuple(sorted((e for e in found if e is not None), key=lambda e: e.upper))


def checked_order(order: int) -> int:
    """The order, if it is one; else UsageError."""
    if isinstance(order, bool) or not isinstance(order, int) or not 1 <= order <= 16:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(
            f"given: order={order!r}; expected: a whole number from 1 to 16; do: e.g. order=1"
        )
    return order


RULES: dict[str, Callable[[Activation, Activation, int], Edge | None]] = {
    "unit": unit,
    "one reach": proved_one_reach,
    "linear combination": linear_combination,
    "hierarchy": hierarchy,
    "taylor": taylor,
    "reach cells": reach_cells,
    "taylor on a reach": growing_reach,
    "ramp": ramp,
    "cancelling kinks": cancelling_kinks,
    "inverse convolution": inverse_convolution,
    "resolvent": resolvent,
    "spectrum": spectrum,
    "mixture": mixture,
    "heat": heat,
    "strip": strip,
    "poisson": poisson,
    "gaussian particles": gaussian_particles,
    "correction": correction,
}
