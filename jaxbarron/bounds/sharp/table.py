"""The shipped table of sharp constants of registered activations in RePU_s.

``table.json`` is written by ``python -m jaxbarron.bounds.sharp.build_table``.  Every entry holds
its evidence; floats are hexadecimal, so that it is the same proof on every machine.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

from jaxbarron.bounds.sharp.evidence import Evidence, evidence_from_json, evidence_to_json
from jaxbarron.table_files import read_table

__all__ = ["TABLE_FORMAT", "SharpEntry", "entries", "entry_from_json", "entry_to_json", "lookup"]

TABLE_FORMAT = 1


@dataclass(frozen=True)
class SharpEntry:
    """The constant of one activation in RePU_s at order p.

    Attributes:
        source: the canonical name of sigma.
        s: the target is RePU_s.
        order: p, of the weight ``(1 + rho)^p``, or ``rho^t`` for sigma = RePU_t.
        lower: rounded down; inf where sigma does not embed.
        upper: rounded up.
        reach: where the lower bound is found; NaN where there is no evidence.
        reason: why the constant is infinite; or the closed form of a hierarchy.
        evidence: None where the constant is infinite or has a closed form.
    """

    source: str
    s: int
    order: int
    lower: float
    upper: float
    reach: float
    reason: str
    evidence: Evidence | None


def lookup(source: str, s: int, order: int) -> SharpEntry | None:
    """The entry of an activation's canonical name, a power and an order, or None.

    Example:
        >>> found = lookup("silu", 1, 1)
        >>> round(found.lower, 6), found.upper < found.lower * (1 + 1e-6)
        (1.431357, True)
    """
    return entries().get((source, s, order))


@functools.cache
def entries() -> dict[tuple[str, int, int], SharpEntry]:
    """Every entry of the shipped table by (activation, s, order)."""
    rows = read_table(
        "jaxbarron.bounds.sharp", "table.json", TABLE_FORMAT, "jaxbarron.bounds.sharp.build_table"
    )
    return {(e["source"], e["s"], e["order"]): entry_from_json(e) for e in rows}


def entry_to_json(entry: SharpEntry) -> dict[str, Any]:
    """The JSON object of one entry, floats in hexadecimal."""
    return {
        "source": entry.source,
        "s": entry.s,
        "order": entry.order,
        "lower": entry.lower.hex(),
        "upper": entry.upper.hex(),
        "reason": entry.reason,
        "evidence": None if entry.evidence is None else evidence_to_json(entry.evidence),
    }


def entry_from_json(data: Any) -> SharpEntry:
    """The inverse of :func:`entry_to_json`."""
    evidence = None if data["evidence"] is None else evidence_from_json(data["evidence"])
    return SharpEntry(
        data["source"],
        data["s"],
        data["order"],
        float.fromhex(data["lower"]),
        float.fromhex(data["upper"]),
        math.nan if evidence is None else evidence.dual.reach,
        data["reason"],
        evidence,
    )
