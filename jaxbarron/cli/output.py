"""What the commands share: where they print, progress, and JSON that is written whole."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from jaxbarron.certificates import Certificate, write_atomically
from jaxbarron.errors import UsageError
from jaxbarron.plots import knots_of

__all__ = [
    "certificate_fields",
    "check_may_write",
    "check_writable",
    "console",
    "plain",
    "show_error",
    "size_of",
    "table",
    "working",
    "working_on",
    "write_json",
]

# A table that is piped into a file must not be folded at the 80 columns of a terminal long gone.
_WIDTH_OF_A_PIPE = 120


def console(stderr: bool = False) -> Console:
    """A console on stdout, or on stderr; square brackets are text, not markup."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_OF_A_PIPE
    return Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)


def show_error(message: str) -> None:
    """One line on stderr."""
    print(f"jaxbarron: error: {' '.join(message.split())}", file=sys.stderr)


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns named in ``right`` are set flush right."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


@contextlib.contextmanager
def working(what: str) -> Generator[Callable[[int, int], None]]:
    """A progress bar on stderr while something runs; silent when stderr is no terminal.

    Yields a function of (done, total); until it is called the bar only shows that work goes on.
    """
    target = console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=target, transient=True, disable=not target.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield advance


@contextlib.contextmanager
def working_on() -> Generator[Callable[[str, int, int], None]]:
    """One progress bar for a work of several parts.

    Yields a function of (part, done, total); a total of 0 only shows that work goes on.
    """
    target = console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=target, transient=True, disable=not target.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def advance(part: str, done: int, total: int) -> None:
            bar.update(task, description=part, completed=done, total=total or None)

        yield advance


def check_writable(*files: Path | None) -> None:
    """Raise before hours of work if a file could not be written at the end of it.

    Raises:
        UsageError: the folder is missing or may not be written to, or the name is a folder's;
            ``-`` (stdout) is fine.
    """
    for file in files:
        if file is None or str(file) == "-":
            continue
        if not file.parent.is_dir() or file.is_dir():
            raise UsageError(
                f"given: the file {file}; expected: a file name in a folder that exists; "
                "do: make the folder, or choose another name"
            )
        check_may_write(file.parent, f"the file {file}")


def check_may_write(folder: Path, what: str) -> None:
    """Raise UsageError if new files cannot be made in a folder."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(
            f"given: {what}, in the folder {folder.absolute()}, which may not be written to; "
            "expected: a folder of your own; do: choose another place, or change its permissions"
        )


def write_json(document: dict[str, Any], file: Path) -> None:
    """Write a JSON document; ``-`` is stdout.  Numbers that JSON lacks become null."""
    text = json.dumps(plain(document), indent=2, allow_nan=False)
    if str(file) == "-":
        print(text)
    else:
        write_atomically(file, (text + "\n").encode())


def plain(value: Any) -> Any:
    """The value with infinities and NaN as None, which JSON writes as null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def size_of(certificate: Certificate) -> str:
    """The size of a kernel in words: its particles, and its knots where the target has some."""
    count = certificate.kernel.particles
    words = f"{count} particle{'s' * (count != 1)}"
    if certificate.target.homogeneity is not None:
        knots = len(knots_of(certificate.kernel))
        words = f"{knots} knot{'s' * (knots != 1)}, {words}"
    return words


def certificate_fields(certificate: Certificate) -> dict[str, Any]:
    """The claim of a certificate as JSON fields; ``reach`` null: on all of R."""
    return {
        "source": certificate.source.name,
        "target": certificate.target.name,
        "particles": certificate.kernel.particles,
        "knots": len(knots_of(certificate.kernel)),
        "lower": certificate.lower,
        "upper": certificate.upper,
        "reach": certificate.reach,
        "level": certificate.level,
        "theorem": certificate.theorem,
        "claim": certificate.claim,
        "errors": [
            {"derivative": e.derivative, "lower": e.lower, "upper": e.upper, "where": e.where}
            for e in certificate.errors
        ],
    }
