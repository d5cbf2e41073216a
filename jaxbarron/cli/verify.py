"""``jaxbarron verify``: derive the claims of certificates again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jaxbarron.certificates import verify
from jaxbarron.cli.output import check_writable, console, show_error, working, write_json
from jaxbarron.errors import CertificateFileError

__all__ = ["verify_command"]


def verify_command(
    files: Annotated[list[Path], typer.Argument(help="Certificates, as --save writes them.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result as JSON; - is stdout.")
    ] = None,
) -> None:
    """Derive the claim of each certificate again, from the numbers in the file alone.

    The error of the stored kernel is enclosed anew by ball arithmetic, on a path that shares no
    code with the optimiser that found the kernel. A changed number makes it fail.
    Exit status: 0 every claim holds; 1 one does not, with the reason; 2 a file is no certificate.

    \b
      jaxbarron kernel gelu relu --tol 1e-3 --save gelu.json && jaxbarron verify gelu.json
      jaxbarron verify saved/*.json
    """
    check_writable(json_file)
    silent = str(json_file) == "-"
    status, results = 0, list[dict[str, Any]]()
    for file in files:
        try:
            with working(f"verifying {file}"):
                found = verify(file)
        except CertificateFileError as error:
            show_error(str(error))
            results.append({"file": str(file), "holds": None, "reason": str(error)})
            status = 2
            continue
        results.append({"file": str(file), "holds": found.holds, "reason": found.reason})
        if not found:
            status = max(status, 1)
        if not silent:
            text = f"{file}: {'holds' if found else 'FAILS'}: {found.reason}"
            console().print(text, soft_wrap=True)
    if json_file is not None:
        document = {"schema": "jaxbarron-verification", "version": 1, "results": results}
        write_json(document, json_file)
    if status:
        raise typer.Exit(status)
