"""The shipped table of constants in other weights than the reach's: bias-free and Euclidean.

``weights.json`` is written by ``python -m jaxbarron.bounds.sharp.build_table`` beside the table of
:mod:`jaxbarron.bounds.sharp.table`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

from jaxbarron.activations import Activation, activation, registered_activations
from jaxbarron.bounds.bias_free import bias_free_constant
from jaxbarron.bounds.constants import Constant
from jaxbarron.bounds.sharp.euclidean import (
    best_particle,
    euclidean_bracket,
    euclidean_obstacle,
)
from jaxbarron.table_files import read_table

__all__ = [
    "WEIGHTS_FORMAT", "WeightEntry", "build_weight_entry", "wanted_weights", "weight_entries",
    "weight_entry_from_json", "weight_entry_holds", "weight_entry_to_json",
]  # fmt: skip

WEIGHTS_FORMAT = 1
OtherWeight = Literal["bias_free", "l2"]
_MOST = 4
_GAP = 1e-3
_PADDING = 2.0**-46  # another version of the ball arithmetic may round otherwise


@dataclass(frozen=True)
class WeightEntry:
    """The constant of one activation in RePU_s in one weight: a bracket, with its gap.

    Attributes:
        source: the canonical name of sigma.
        weight: ``"bias_free"`` (Theorem Bias free) or ``"l2"`` (Theorem Euclidean weights).
        s: the target is RePU_s; 1 for ``"l2"``.
        lower: rounded down; inf where the constant is infinite.
        upper: rounded up; inf also where no bound is known.
        reason: why the upper bound is infinite; empty otherwise.
        particle: (w, b) from which the lower bound of ``"l2"`` follows; None elsewhere.
    """

    source: str
    weight: OtherWeight
    s: int
    lower: float
    upper: float
    reason: str
    particle: tuple[float, float] | None = None


def wanted_weights() -> Iterator[tuple[Activation, OtherWeight, int]]:
    """Every (activation, weight, s) of the table."""
    smooth = [sigma for sigma in registered_activations() if sigma.homogeneity is None]
    for sigma in smooth:
        for s in range(1, _MOST + 1):
            yield sigma, "bias_free", s
        yield sigma, "l2", 1


def build_weight_entry(sigma: Activation, weight: OtherWeight, s: int) -> WeightEntry:
    """The entry, searched for."""
    particle = None
    if weight == "l2" and euclidean_obstacle(sigma) is None:
        particle = best_particle(sigma)
    found = _derived(sigma, weight, s, particle)
    lower, upper = found.lower, found.upper
    if lower < upper < math.inf:
        lower, upper = lower * (1 - _PADDING), upper * (1 + _PADDING)
    return WeightEntry(sigma.name, weight, s, lower, upper, found.reason, particle)


def weight_entry_holds(entry: WeightEntry) -> bool:
    """Whether both bounds follow again, by ball arithmetic, from the particle alone."""
    sigma = activation(entry.source)
    if entry.weight == "l2" and (entry.particle is None) != (euclidean_obstacle(sigma) is not None):
        return False
    found = _derived(sigma, entry.weight, entry.s, entry.particle)
    return entry.lower <= found.lower and found.upper <= entry.upper


def _derived(
    sigma: Activation, weight: OtherWeight, s: int, particle: tuple[float, float] | None
) -> Constant:
    if weight == "bias_free":
        return bias_free_constant(sigma, s)
    obstacle = euclidean_obstacle(sigma)
    if obstacle is not None:
        return obstacle
    assert particle is not None
    return euclidean_bracket(sigma, particle, _GAP)


@functools.cache
def weight_entries() -> dict[tuple[str, str, int], WeightEntry]:
    """Every entry of the shipped table by (activation, weight, s).

    Example:
        >>> found = weight_entries()["tanh", "l2", 1]
        >>> 2.1165 < found.lower <= found.upper < 2.118
        True
    """
    rows = read_table(
        "jaxbarron.bounds.sharp",
        "weights.json",
        WEIGHTS_FORMAT,
        "jaxbarron.bounds.sharp.build_table",
    )
    return {(e["source"], e["weight"], e["s"]): weight_entry_from_json(e) for e in rows}


def weight_entry_to_json(entry: WeightEntry) -> dict[str, Any]:
    """The JSON object of one entry, floats in hexadecimal."""
    return {
        "source": entry.source,
        "weight": entry.weight,
        "s": entry.s,
        "lower": entry.lower.hex(),
        "upper": entry.upper.hex(),
        "reason": entry.reason,
        "particle": None if entry.particle is None else [x.hex() for x in entry.particle],
    }


def weight_entry_from_json(data: Any) -> WeightEntry:
    """The inverse of :func:`weight_entry_to_json`."""
    particle = data["particle"]
    return WeightEntry(
        data["source"],
        cast(OtherWeight, data["weight"]),
        data["s"],
        float.fromhex(data["lower"]),
        float.fromhex(data["upper"]),
        data["reason"],
        None if particle is None else (float.fromhex(particle[0]), float.fromhex(particle[1])),
    )
