"""Build ``table.json``: ``python -m jaxbarron.kernels.build_table [--fresh]``.

Deterministic, and resumable: what the file already holds is kept (``--fresh`` starts anew), and
the file is replaced as a whole after each entry, so that it is never half written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jaxbarron.activations import activation
from jaxbarron.errors import ToleranceError
from jaxbarron.kernels.splines import build_spline
from jaxbarron.kernels.table import TABLE_FORMAT, entry_to_json
from jaxbarron.table_files import read_entries, write_table

__all__ = ["DEGREES", "SOURCES", "TOLERANCES", "main"]

SOURCES = (
    "gelu", "gelu_tanh", "silu", "swish(1.702)", "tanh", "sigmoid", "softplus", "mish", "erf",
    "elu", "selu", "celu", "log_cosh", "squareplus", "gaussian", "arctan", "softsign",
    "hard_swish",
)  # fmt: skip
DEGREES = (1, 2, 3)
TOLERANCES = (1e-2, 1e-3, 1e-4)
# Larger kernels are built on demand.
_MOST_KNOTS = 128


def main(arguments: Sequence[str] | None = None, path: Path | None = None) -> int:
    """Build what is missing from the table at ``path``; progress goes to stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    path = path or Path(__file__).with_name("table.json")
    entries = read_entries(path, fresh="--fresh" in arguments)
    known = {(e["source"], e["s"], e["tol"]): e for e in entries}
    wanted = [(activation(x).name, s, tol) for x in SOURCES for s in DEGREES for tol in TOLERANCES]
    for number, (source, s, tol) in enumerate(wanted, start=1):
        if (source, s, tol) not in known:
            try:
                spline = build_spline(activation(source), s, tol=tol)
            except ToleranceError:
                spline = None
            if spline is None or len(spline.tau) > _MOST_KNOTS:
                print(f"[{number}/{len(wanted)}] {source} s={s} {tol:g}: left out", file=sys.stderr)
                continue
            known[source, s, tol] = entry_to_json(source, tol, spline)
            write_table(path, TABLE_FORMAT, [known[key] for key in wanted if key in known])
        count = len(known[source, s, tol]["tau"])
        print(f"[{number}/{len(wanted)}] {source} s={s} {tol:g}: {count} knots", file=sys.stderr)
    write_table(path, TABLE_FORMAT, [known[key] for key in wanted if key in known])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
