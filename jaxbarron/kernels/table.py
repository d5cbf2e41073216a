"""Ready-made splines for registered activations at common tolerances.

``table.json`` is written by ``python -m jaxbarron.kernels.build_table``.  It holds integers only,
so every entry is the same kernel on every machine, bit by bit.
"""

from __future__ import annotations

import functools
from typing import Any

from jaxbarron.kernels.exact_tails import DyadicSpline, kernel_of_spline
from jaxbarron.measures import ParticleMeasure
from jaxbarron.table_files import read_table

__all__ = ["TABLE_FORMAT", "entries", "entry_from_json", "entry_to_json", "lookup"]

TABLE_FORMAT = 1


def lookup(source: str, s: int, tol: float) -> ParticleMeasure | None:
    """The table's kernel for an activation's canonical name, a degree and a tolerance, or None.

    Only the tolerances that the table was built for match; the error is at most ``tol`` on R (for
    s = 3 and slopes that no floats hold, on ``|z| <= 2^20``).

    Example:
        >>> lookup("gelu", 1, 1e-3).particles, lookup("gelu", 1, 2e-3)
        (23, None)
    """
    spline = entries().get((source, s, tol))
    return None if spline is None else kernel_of_spline(spline)


@functools.cache
def entries() -> dict[tuple[str, int, float], DyadicSpline]:
    """Every entry of the shipped table by (activation, s, tolerance)."""
    rows = read_table(
        "jaxbarron.kernels", "table.json", TABLE_FORMAT, "jaxbarron.kernels.build_table"
    )
    return {(e["source"], e["s"], e["tol"]): entry_from_json(e) for e in rows}


def entry_to_json(source: str, tol: float, spline: DyadicSpline) -> dict[str, Any]:
    """The JSON object of one entry; floats of the left line in hexadecimal."""
    return {
        "source": source,
        "s": spline.s,
        "tol": tol,
        "slope": spline.slope.hex(),
        "constant": spline.constant.hex(),
        "a": spline.a,
        "b": spline.b,
        "tau": list(spline.tau),
        "n": list(spline.n),
    }


def entry_from_json(entry: dict[str, Any]) -> DyadicSpline:
    """The inverse of :func:`entry_to_json`."""
    return DyadicSpline(
        s=entry["s"],
        n=tuple(entry["n"]),
        b=entry["b"],
        tau=tuple(entry["tau"]),
        a=entry["a"],
        slope=float.fromhex(entry["slope"]),
        constant=float.fromhex(entry["constant"]),
    )
