"""Shipped tables as JSON files with one entry a line: read from the package, replaced as a whole.

A table is built by a command, which keeps what the file already holds; so it is written after each
entry, and is never half written.
"""

from __future__ import annotations

import json
import os
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from jaxbarron.errors import CertificateFileError

__all__ = ["read_entries", "read_table", "write_table"]


def read_table(package: str, name: str, layout: int, build: str) -> list[dict[str, Any]]:
    """The entries of a table that the package ships.

    Args:
        package: where the file lies, e.g. ``"jaxbarron.kernels"``.
        name: of the file.
        layout: the number of the format expected.
        build: the module that builds it, for the message.

    Raises:
        CertificateFileError: the file has another format.

    Example:
        >>> len(read_table("jaxbarron.kernels", "table.json", 1, "jaxbarron.kernels.build_table"))
        158
    """
    data: Any = json.loads(resources.files(package).joinpath(name).read_text("utf-8"))
    if data["format"] != layout:
        raise CertificateFileError(
            f"given: a table {package}/{name} of format {data['format']}; expected: {layout}; do: "
            f"run python -m {build}"
        )
    return data["entries"]


def read_entries(path: Path, *, fresh: bool = False) -> list[dict[str, Any]]:
    """What a table under construction holds; nothing where there is none, or with ``fresh``."""
    if fresh or not path.exists():
        return []
    return json.loads(path.read_text("utf-8"))["entries"]


def write_table(path: Path, layout: int, rows: list[dict[str, Any]]) -> None:
    """Replace the table at ``path``, one entry a line."""
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    text = f'{{"format":{layout},"entries":[\n{lines}\n]}}\n'
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".table-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(name, 0o644)  # mkstemp's file is the owner's alone
    os.replace(name, path)
