"""``python -m benchmarks [--quick] [--only PART] [--check] [--json FILE]``.

``--only norms`` takes ``--batch`` and ``--lanes``: norms in one compiled call, and side by side.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.parts import PARTS
from jaxbarron.cli.output import check_writable, console, table, working, write_json


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, for a test of the code")
    parser.add_argument("--only", choices=PARTS, help="one of the parts")
    parser.add_argument(
        "--check",
        action="store_true",
        help="exit status 1 if a switched model costs over 1.1 of the original, or noise hides it",
    )
    parser.add_argument("--json", type=Path, help="write the figures as JSON; - is stdout")
    for name, what in (("batch", "norms in one compiled call"), ("lanes", "of them side by side")):
        parser.add_argument(
            f"--{name}", type=_count, metavar="N", help=f"{what}; default: what suits the device"
        )
    chosen = parser.parse_args()
    batched = chosen.only is not None and PARTS[chosen.only].batched
    if (chosen.batch or chosen.lanes) and not batched:
        parser.error("--batch and --lanes are for --only norms")
    return chosen


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected: at least 1")
    return value


def main() -> int:
    chosen = _arguments()
    check_writable(chosen.json)
    where = machine()
    document: dict[str, Any] = {
        "schema": "jaxbarron-benchmarks",
        "version": 1,
        "quick": chosen.quick,
        "machine": where,
    }
    broken: list[str] = []
    out = console(stderr=str(chosen.json) == "-")
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    out.print(f"{where['processor']}, {where['cores']} cores; device {where['device']}; {versions}")
    for name in PARTS if chosen.only is None else (chosen.only,):
        part = PARTS[name]
        rows = table(*part.columns, right=part.columns[part.texts :])
        with working(part.doing) as advance:
            asked = {"batch": chosen.batch, "lanes": chosen.lanes} if part.batched else {}
            figures = part.figures(chosen.quick, advance, **asked)
        for figure in figures:
            rows.add_row(*part.cells(figure))
        more, lines = part.more(figures)
        out.print(f"\n{part.heading(figures)}")
        out.print(rows)
        for line in lines:
            out.print(line)
        broken += part.broken(figures) if chosen.check else []
        document |= {name: [asdict(figure) for figure in figures], **more}
    if chosen.json is not None:
        write_json(document, chosen.json)
    for sentence in broken:
        print(sentence, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
