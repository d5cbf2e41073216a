"""Save, load and verify certificates of every kind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxbarron.certificates import constant, embedding, kernel, non_embedding, sharp
from jaxbarron.certificates.constant import ConstantCertificate
from jaxbarron.certificates.embedding import EmbeddingCertificate
from jaxbarron.certificates.files import (
    FORMAT,
    VERSION,
    Verification,
    digest,
    read,
    write_atomically,
)
from jaxbarron.certificates.kernel import Certificate
from jaxbarron.certificates.non_embedding import NonEmbeddingCertificate
from jaxbarron.certificates.sharp import SharpCertificate
from jaxbarron.errors import CertificateFileError, JaxbarronError

__all__ = ["AnyCertificate", "load", "save", "to_document", "verify"]

AnyCertificate = (
    Certificate
    | EmbeddingCertificate
    | NonEmbeddingCertificate
    | ConstantCertificate
    | SharpCertificate
)


@dataclass(frozen=True)
class _Kind:
    type: type[Any]
    to_json: Callable[[Any], dict[str, Any]]
    from_json: Callable[[dict[str, Any]], Any]
    check: Callable[[Any], Verification]


_KINDS = {
    "kernel": _Kind(Certificate, kernel.to_json, kernel.from_json, kernel.check),
    "embedding": _Kind(
        EmbeddingCertificate, embedding.to_json, embedding.from_json, embedding.check
    ),
    "constant": _Kind(ConstantCertificate, constant.to_json, constant.from_json, constant.check),
    "sharp": _Kind(SharpCertificate, sharp.to_json, sharp.from_json, sharp.check),
    "non-embedding": _Kind(
        NonEmbeddingCertificate,
        non_embedding.to_json,
        non_embedding.from_json,
        non_embedding.check,
    ),
}


def verify(certificate: AnyCertificate | str | os.PathLike[str]) -> Verification:
    """Derive a certificate's claim again from its numbers alone, by ball arithmetic.

    Args:
        certificate: a certificate, or the path of a file that holds one.

    Returns:
        A truthy :class:`Verification` if every bound was derived again; otherwise falsy, with
        the bound that fails and the value that was found.

    Raises:
        CertificateFileError: the file is no certificate, is truncated, or is of a later version.
    """
    if not isinstance(certificate, str | os.PathLike):
        return _checked(certificate)
    data = read(Path(certificate))
    if data.get("digest") != digest(data):
        return Verification(False, "the file was changed: its digest does not match its content")
    return _checked(_from_json(data))


def _checked(certificate: AnyCertificate) -> Verification:
    try:
        if certificate.level != "rigorous":
            return Verification(
                False,
                f"its level is {certificate.level!r}: only rigorous claims can be derived again",
            )
        return _KINDS[_kind_of(certificate)].check(certificate)
    except JaxbarronError as error:
        return Verification(False, f"the claim cannot be derived: {error}")


def save(certificate: AnyCertificate, path: str | os.PathLike[str]) -> None:
    """Write a certificate as JSON, floats as hexadecimal strings; never half a file.

    The file is written beside its place under another name and then moved there.
    """
    data = to_document(certificate)
    write_atomically(Path(path), (json.dumps(data, indent=1) + "\n").encode())


def to_document(certificate: AnyCertificate) -> dict[str, Any]:
    """What :func:`save` writes, as a JSON object."""
    kind = _kind_of(certificate)
    data = {"format": FORMAT, "version": VERSION, "kind": kind}
    data |= _KINDS[kind].to_json(certificate)
    return data | {"digest": digest(data)}


def load(path: str | os.PathLike[str]) -> AnyCertificate:
    """Read a certificate; it is not verified: call :func:`verify` for that.

    Raises:
        CertificateFileError: the file is missing, no certificate, truncated, or of a later
            version.
    """
    return _from_json(read(Path(path)))


def _from_json(data: dict[str, Any]) -> AnyCertificate:
    try:
        return _KINDS[data["kind"]].from_json(data)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, JaxbarronError) as error:
        raise CertificateFileError(
            f"given: a certificate whose content cannot be read ({type(error).__name__}: {error}); "
            "expected: every field as jaxbarron.save writes it; do: write the file again"
        ) from None


def _kind_of(certificate: AnyCertificate) -> str:
    return next(name for name, kind in _KINDS.items() if isinstance(certificate, kind.type))
