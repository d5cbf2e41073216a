"""Constants in other weights than the reach's, bias-free and Euclidean, and their shipped table.

``weights.json`` is written by ``python -m jaxbarron.bounds.sharp.build_table`` beside the table of
:mod:`jaxbarron.bounds.sharp.table`; every entry holds what proves it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

from jaxbarron.activations import Activation, activation, registered_activations
from jaxbarron.activations.registry import is_registered
from jaxbarron.bounds.bias_free import bias_free_constant
from jaxbarron.bounds.constants import Constant
from jaxbarron.bounds.sharp.euclidean import EUCLIDEAN, check_euclidean, euclidean_obstacle
from jaxbarron.bounds.sharp.euclidean_evidence import (
    EuclideanEvidence,
    euclidean_from_json,
    euclidean_to_json,
)
from jaxbarron.bounds.sharp.euclidean_search import euclidean_evidence
from jaxbarron.errors import UsageError
from jaxbarron.table_files import read_table

__all__ = [
    "WEIGHTS_FORMAT", "OtherWeight", "WeightEntry", "build_weight_entry", "constant_in_weight",
    "proved_in_weight", "wanted_weights", "weight_entries", "weight_entry_from_json",
    "weight_entry_holds", "weight_entry_to_json",
]  # fmt: skip

WEIGHTS_FORMAT = 2
OtherWeight = Literal["bias_free", "l2"]
_MOST = 4
_GAP = 1e-6
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
        evidence: what proves both bounds of ``"l2"``; None for closed forms and infinite constants.
    """

    source: str
    weight: OtherWeight
    s: int
    lower: float
    upper: float
    reason: str
    evidence: EuclideanEvidence | None = None


def constant_in_weight(
    sigma: Activation, weight: OtherWeight, s: int, rel_gap: float
) -> tuple[Constant, EuclideanEvidence | None]:
    """``lower <= C <= upper`` and what proves it: the table's if its gap does, or a search's.

    Args:
        sigma: no RePU.
        weight: Theorem Bias free or Theorem Euclidean weights.
        s: the target is RePU_s; 1 for ``"l2"``.
        rel_gap: the relative gap aimed at; that of ``"bias_free"`` is what rounding leaves.

    Raises:
        UsageError: ``"l2"`` with another s than 1.

    Example:
        >>> found, evidence = constant_in_weight(activation("tanh"), "l2", 1, 1e-6)
        >>> round(found.lower, 5), evidence is not None
        (2.11658, True)
    """
    if weight == "l2" and s != 1:
        raise UsageError(f"given: weight='l2' with s={s}; expected: s=1; do: take the target relu")
    entry = weight_entries().get((sigma.name, weight, s)) if is_registered(sigma) else None
    if entry is not None and (
        math.isinf(entry.upper)
        or weight == "bias_free"
        or entry.upper <= entry.lower * (1 + rel_gap)
    ):
        theorem = EUCLIDEAN if weight == "l2" else "Bias free"
        return Constant(entry.lower, entry.upper, theorem, entry.reason), entry.evidence
    if weight == "bias_free":
        return bias_free_constant(sigma, s), None
    found = euclidean_evidence(sigma, max(rel_gap, 1e-7))
    if isinstance(found, Constant):
        return found, None
    return check_euclidean(sigma, found), found


def proved_in_weight(
    sigma: Activation, weight: OtherWeight, s: int, evidence: EuclideanEvidence | None
) -> Constant:
    """Both bounds from the evidence alone, by ball arithmetic; 0 and inf where it proves nothing.

    Raises:
        UsageError: shares that do not add up (Theorem Shares).
    """
    if weight == "bias_free":
        return bias_free_constant(sigma, s)
    if s == 1 and evidence is not None:
        return check_euclidean(sigma, evidence)
    obstacle = euclidean_obstacle(sigma) if s == 1 else None
    return Constant(0.0, math.inf, EUCLIDEAN, "no evidence") if obstacle is None else obstacle


def wanted_weights() -> Iterator[tuple[Activation, OtherWeight, int]]:
    """Every (activation, weight, s) of the table."""
    smooth = [sigma for sigma in registered_activations() if sigma.homogeneity is None]
    for sigma in smooth:
        for s in range(1, _MOST + 1):
            yield sigma, "bias_free", s
        yield sigma, "l2", 1


def build_weight_entry(sigma: Activation, weight: OtherWeight, s: int) -> WeightEntry:
    """The entry, searched for."""
    evidence = None
    if weight == "l2":
        found = euclidean_evidence(sigma, _GAP)
        evidence = None if isinstance(found, Constant) else found
    proved = proved_in_weight(sigma, weight, s, evidence)
    lower, upper = proved.lower, proved.upper
    if lower < upper < math.inf:
        lower, upper = lower * (1 - _PADDING), upper * (1 + _PADDING)
    return WeightEntry(sigma.name, weight, s, lower, upper, proved.reason, evidence)


def weight_entry_holds(entry: WeightEntry) -> bool:
    """Whether both bounds follow again, by ball arithmetic, from the evidence alone."""
    found = proved_in_weight(activation(entry.source), entry.weight, entry.s, entry.evidence)
    return entry.lower <= found.lower and found.upper <= entry.upper


@functools.cache
def weight_entries() -> dict[tuple[str, str, int], WeightEntry]:
    """Every entry of the shipped table by (activation, weight, s).

    Example:
        >>> found = weight_entries()["tanh", "l2", 1]
        >>> 2.116582 < found.lower <= found.upper < 2.116585
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
        "evidence": None if entry.evidence is None else euclidean_to_json(entry.evidence),
    }


def weight_entry_from_json(data: Any) -> WeightEntry:
    """The inverse of :func:`weight_entry_to_json`."""
    evidence = data["evidence"]
    return WeightEntry(
        data["source"],
        cast(OtherWeight, data["weight"]),
        data["s"],
        float.fromhex(data["lower"]),
        float.fromhex(data["upper"]),
        data["reason"],
        None if evidence is None else euclidean_from_json(evidence),
    )
