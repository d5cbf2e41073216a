"""Bounds of the norm on an interval in double precision, with what rounding may have done to them.

THEORY.md, Theorem Rounding of a bracket.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_bracket import IntervalBracket, interval_bracket
from jaxbarron.bounds.interval_problem import Problem
from jaxbarron.bounds.interval_table import AGREES, Table, table_jets, tabulated

__all__ = ["Rounding", "float_bounds", "rounding_of", "solve_table"]

# Of a network's summed size, and of the upper bound.  The largest seen against balls are 4e-15,
# 4e-13, 2e-12, 1e-12 and 8e-12 for s = 0, ..., 4: see tests/bounds/test_interval_rounding.py.
_SHARE = {0: 2.0**-40, 1: 2.0**-39, 2: 2.0**-37, 3: 2.0**-37, 4: 2.0**-35}
# 1 + tanh(z) has an error of the size of 1 where it is nearly 0: so much of the largest values of
# all arguments of the size that occurs belongs to the size.
_OF_LARGEST = 1 / 4
_GRID = 401


@dataclass(frozen=True)
class Rounding:
    """What rounding may have done to both bounds: ``share * max(upper, size)``."""

    share: float
    size: float

    def widened(self, lower: float, upper: float) -> tuple[float, float]:
        """Both bounds with the rounding taken off and added."""
        margin = self.share * max(upper, self.size)
        return max(lower - margin, 0.0), upper + margin


def float_bounds(
    problem: Problem, body: GaugeBody, rel_gap: float
) -> tuple[IntervalBracket, float, float]:
    """The bracket of a network of finite norm, and its two bounds widened by their rounding.

    Raises:
        NonFiniteError: see :func:`~.interval_table.tabulated`.
    """
    table = tabulated(problem, body.s)
    found = solve_table(body, problem.kinks, rel_gap, table)
    # where the table ran out of cells its own error is more than rounding
    rounding = rounding_of(problem, body, max(float(table.off) - AGREES, 0.0))
    return found, *rounding.widened(float(found.lower), float(found.upper))


def rounding_of(problem: Problem, body: GaugeBody, off: float = 0.0) -> Rounding:
    """The rounding of bounds of a network whose derivatives are tabulated up to ``off``.

    The size is ``sum_i |a_i| N_i``, N_i about what the i-th neuron alone costs: the variation of
    f^(s), weighted as the density part, and the largest ``|f^(k)|/k!``, k at most s, on a grid; for
    the bias-free weight k = s only.  A single neuron's upper bound stands for the first.
    """
    s = body.s
    orders = (s,) if body.weight == "bias_free" else range(s + 1)
    price = 1.0 if body.weight == "bias_free" else 2.0**s
    size = largest = 0.0
    for neuron in problem.neurons():
        t = neuron.resolving_grid(_GRID)
        values = [np.abs(neuron.derivative(k, t)).max() / math.factorial(k) for k in orders]
        jumps = np.abs(np.diff(neuron.derivative(s, t))).sum() / math.factorial(s)
        size += max(values) + price * jumps
        largest += max(neuron.largest(k, _GRID) / math.factorial(k) for k in orders)
    own = size if problem.weights.size > 1 else 0.0
    return Rounding(_SHARE[s] + 2.0 ** (s + 4) * off, float(max(own, _OF_LARGEST * largest)))


def solve_table(body: GaugeBody, kinks: bool, rel_gap: float, table: Table) -> IntervalBracket:
    """The bracket of a tabulated function; the search is compiled once for all functions."""
    with jax.enable_x64(True):
        found = _solve(body, kinks, jnp.asarray(rel_gap), jax.tree.map(jnp.asarray, table))
    return jax.tree.map(np.asarray, found)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _solve(body: GaugeBody, kinks: bool, rel_gap: Any, table: Table) -> IntervalBracket:
    jets = table_jets(table)
    return interval_bracket(
        body, jets, table.edges, kinks=kinks, rel_gap=rel_gap, smooth=table.smooth
    )
