"""Build ``approximations.json``: ``python -m jaxbarron.atlas.build_approximations [--fresh]``.

Resumable: what the file already holds is kept (``--fresh`` starts anew), pairs that are open no
more are dropped, and the file is replaced as a whole after each entry.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxbarron.activations import activation
from jaxbarron.atlas.approximations import (
    TABLE_FORMAT,
    approximation_to_json,
    compute_approximations,
)
from jaxbarron.atlas.graph import embeddings
from jaxbarron.certificates.files import write_atomically

__all__ = ["main", "open_pairs"]

Pair = tuple[str, str, int]

# At order 2 more is open than a table should hold: these stand for the bounded targets, for those
# with one slope, and for a target whose values return to 0.
_TARGETS_AT_TWO = ("tanh", "gaussian", "gelu", "softplus")


def open_pairs() -> tuple[Pair, ...]:
    """Source, target and order of the pairs that the table is to hold.

    Registered pairs that the atlas leaves open at their natural order, and at order 2 into a few
    targets.
    """
    found = [*embeddings(), *embeddings(targets=_TARGETS_AT_TWO, order=2)]
    left = {(e.source.name, e.target.name, e.order) for e in found if e.verdict == "open"}
    return tuple(sorted(left))


def main(
    arguments: Sequence[str] | None = None,
    path: Path | None = None,
    pairs: Sequence[Pair] | None = None,
) -> int:
    """Build what is missing from the table at ``path``; progress goes to stderr.

    Args:
        arguments: of the command line.
        path: the table; by default the shipped one.
        pairs: what it is to hold; by default :func:`open_pairs`.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    path = path or Path(__file__).with_name("approximations.json")
    fresh = "--fresh" in arguments or not path.exists()
    entries: list[dict[str, Any]] = [] if fresh else json.loads(path.read_text())["entries"]
    known = {(e["source"], e["target"], e["order"]): e for e in entries}
    wanted = open_pairs() if pairs is None else tuple(pairs)
    for number, pair in enumerate(wanted, start=1):
        source, target, order = pair
        if pair not in known:
            rows = compute_approximations(activation(source), activation(target), order)
            known[pair] = {
                "source": source,
                "target": target,
                "order": order,
                "rows": [approximation_to_json(row) for row in rows],
            }
            _write(path, known, wanted)
        found = " ".join(f"{r['norm']:.4g}:{r['error']:.2g}" for r in known[pair]["rows"])
        print(f"[{number}/{len(wanted)}] {source} -> {target}: {found}", file=sys.stderr)
    _write(path, known, wanted)
    return 0


def _write(path: Path, known: Mapping[Pair, dict[str, Any]], wanted: Sequence[Pair]) -> None:
    entries = [known[pair] for pair in wanted if pair in known]
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries)
    text = f'{{"format":{TABLE_FORMAT},"entries":[\n{lines}\n]}}\n'
    write_atomically(path, text.encode())


if __name__ == "__main__":
    raise SystemExit(main())
