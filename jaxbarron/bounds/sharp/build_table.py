"""Build ``table.json`` and ``weights.json``.

``python -m jaxbarron.bounds.sharp.build_table [--fresh | --check]``

Deterministic, and resumable: what the file already holds is kept (``--fresh`` starts anew), and
the file is replaced as a whole after each entry, so that it is never half written.  ``--check``
proves every entry again from its evidence, and exits with 1 where one does not hold.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from jaxbarron.activations import Activation, activation, registered_activations, repu
from jaxbarron.bounds.sharp.proof import check_evidence
from jaxbarron.bounds.sharp.search import sharp_constant
from jaxbarron.bounds.sharp.table import (
    TABLE_FORMAT,
    SharpEntry,
    entry_from_json,
    entry_to_json,
)
from jaxbarron.bounds.sharp.waves import is_wave
from jaxbarron.bounds.sharp.weights import (
    WEIGHTS_FORMAT,
    build_weight_entry,
    wanted_weights,
    weight_entry_from_json,
    weight_entry_holds,
    weight_entry_to_json,
)
from jaxbarron.bounds.witnesses import find_witness
from jaxbarron.kernels import hierarchy_constant
from jaxbarron.table_files import read_entries, write_table

__all__ = ["MOST", "build_entry", "entry_holds", "main", "wanted"]

MOST = 4  # the targets are RePU_1 to RePU_4
_HIERARCHY = 5
_MOST_ABOVE = 2  # and at order s + 1 to RePU_2, for sin and cos to RePU_4
_GAP = 1e-6
_PADDING = 2.0**-46


def wanted() -> Iterator[tuple[Activation, int, int]]:
    """Every (activation, s, order) that the table is to hold, or to leave out as open."""
    smooth = [sigma for sigma in registered_activations() if sigma.homogeneity is None]
    for extra in (0, 1):
        for sigma in smooth:
            most = _MOST_ABOVE if extra and not is_wave(sigma) else MOST
            for s in range(1, most + 1):
                yield sigma, s, s + extra
    for t in range(_HIERARCHY + 1):
        for s in range(1, _HIERARCHY + 1):
            yield repu(t), s, s


def without_evidence(sigma: Activation, s: int, order: int) -> SharpEntry | None:
    """The entry of a hierarchy, or of a pair that a witness is against; None elsewhere."""
    t = sigma.homogeneity
    if t is not None and t >= s:
        value = float(hierarchy_constant(t, s)) if t > s else 1.0
        return SharpEntry(sigma.name, s, order, value, value, math.nan, "hierarchy", None)
    witness = find_witness(sigma, repu(s), order)
    if witness is None:
        return None
    nothing = math.inf
    return SharpEntry(sigma.name, s, order, nothing, nothing, math.nan, witness.claim, None)


def build_entry(sigma: Activation, s: int, order: int) -> SharpEntry | None:
    """The entry, or None where neither a proof nor a reason against one was found."""
    known = without_evidence(sigma, s, order)
    if known is not None:
        return known
    found = sharp_constant(sigma, s, order, _GAP)
    if found is None or not math.isfinite(found.upper):
        return None
    lower, upper = found.lower, found.upper
    if lower < upper:
        # another version of the ball arithmetic may round otherwise
        lower, upper = lower * (1 - _PADDING), upper * (1 + _PADDING)
    return SharpEntry(sigma.name, s, order, lower, upper, found.reach, "", found.evidence)


def entry_holds(entry: SharpEntry) -> bool:
    """Whether both bounds follow again: from the evidence, or without any from a closed form."""
    sigma = activation(entry.source)
    if entry.evidence is not None:
        found = check_evidence(sigma, entry.s, entry.order, entry.evidence)
        return entry.lower <= found.lower and found.upper <= entry.upper
    again = without_evidence(sigma, entry.s, entry.order)
    return again is not None and again == replace(entry, reach=again.reach)


def main(arguments: Sequence[str] | None = None, path: Path | None = None) -> int:
    """Build what is missing from the tables at ``path`` and beside it; progress goes to stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    path = path or Path(__file__).with_name("table.json")
    if "--check" in arguments:
        return max(_check(path), _check_weights(path.with_name("weights.json")))
    fresh = "--fresh" in arguments
    rows = read_entries(path, fresh=fresh)
    known = {(e["source"], e["s"], e["order"]): e for e in rows}
    todo = list(wanted())
    keys = [(sigma.name, s, order) for sigma, s, order in todo]
    for number, (sigma, s, order) in enumerate(todo, start=1):
        label = f"[{number}/{len(todo)}] {sigma.name} in repu({s}) at order {order}"
        if (sigma.name, s, order) not in known:
            entry = build_entry(sigma, s, order)
            if entry is None:
                print(f"{label}: left out", file=sys.stderr, flush=True)
                continue
            known[sigma.name, s, order] = entry_to_json(entry)
            write_table(path, TABLE_FORMAT, [known[key] for key in keys if key in known])
        found = known[sigma.name, s, order]
        lower, upper = float.fromhex(found["lower"]), float.fromhex(found["upper"])
        gap = upper / lower - 1 if math.isfinite(upper) else 0.0
        print(f"{label}: {lower!r}, gap {gap:.1e}", file=sys.stderr, flush=True)
    write_table(path, TABLE_FORMAT, [known[key] for key in keys if key in known])
    _build_weights(path.with_name("weights.json"), fresh)
    return 0


def _build_weights(path: Path, fresh: bool) -> None:
    known = {(e["source"], e["weight"], e["s"]): e for e in read_entries(path, fresh=fresh)}
    todo = list(wanted_weights())
    for number, (sigma, weight, s) in enumerate(todo, start=1):
        key = sigma.name, weight, s
        if key not in known:
            known[key] = weight_entry_to_json(build_weight_entry(sigma, weight, s))
        lower, upper = (float.fromhex(known[key][name]) for name in ("lower", "upper"))
        label = f"[{number}/{len(todo)}] {sigma.name} in repu({s}), weight {weight}"
        print(f"{label}: {lower!r} to {upper!r}", file=sys.stderr, flush=True)
    write_table(path, WEIGHTS_FORMAT, [known[sigma.name, w, s] for sigma, w, s in todo])


def _check_weights(path: Path) -> int:
    rows, failures = read_entries(path), 0
    for number, row in enumerate(rows, start=1):
        entry, start = weight_entry_from_json(row), time.perf_counter()
        holds = weight_entry_holds(entry)
        failures += not holds
        label = f"[{number}/{len(rows)}] {entry.source} in repu({entry.s}), weight {entry.weight}"
        verdict = "holds" if holds else "DOES NOT HOLD"
        spent = time.perf_counter() - start
        print(f"{label}: {verdict}, {spent:.2f} s", file=sys.stderr, flush=True)
    return 1 if failures else 0


def _check(path: Path) -> int:
    rows = read_entries(path)
    failures = 0
    for number, row in enumerate(rows, start=1):
        entry = entry_from_json(row)
        start = time.perf_counter()
        holds = entry_holds(entry)
        failures += not holds
        label = f"[{number}/{len(rows)}] {entry.source} in repu({entry.s}) at order {entry.order}"
        spent = time.perf_counter() - start
        verdict = "holds" if holds else "DOES NOT HOLD"
        print(f"{label}: {verdict}, {spent:.2f} s", file=sys.stderr, flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
