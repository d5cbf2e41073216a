"""The gap of the rigorous norm on an interval, for every smooth registered activation.

``python tests/bounds/interval_gaps.py`` takes s = 1, ..., 4 and several particles of each, and
prints the widest gaps, 1.0e-10 at present; the exit status is 1 if one is above 1e-9.
"""

from __future__ import annotations

import sys

from jaxbarron.activations import registered_activations
from jaxbarron.bounds.interval_norm import interval_norm

PLACES = ((0.25, 0.5), (1.0, 0.0), (1.0, -1.75), (4.0, 0.75), (16.0, 3.0))


def smooth() -> tuple[str, ...]:
    """The activations of the registry without a kink."""
    sources = registered_activations()
    return tuple(f.name for f in sources if not f.kinks and f.homogeneity is None)


def _main() -> int:
    rows: list[tuple[float, str]] = []
    for name in smooth():
        for s in (1, 2, 3, 4):
            for spread, offset in PLACES:
                found = interval_norm(name, s, spread=spread, offset=offset, level="rigorous")
                rows.append((found.gap, f"{name} s={s} w={spread} b={offset} {found.reason}"))
        print(name, f"{max(gap for gap, _ in rows[-4 * len(PLACES) :]):.1e}", flush=True)
    rows.sort(reverse=True)
    for gap, case in rows[:10]:
        print(f"{gap:.2e} {case}")
    print(f"{len(rows)} norms, {sum(gap > 1e-9 for gap, _ in rows)} with a gap above 1e-9")
    return int(rows[0][0] > 1e-9)


if __name__ == "__main__":
    sys.exit(_main())
