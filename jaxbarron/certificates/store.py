"""Save, load and verify certificates of every kind.

A kind with arrays keeps them in a safetensors file beside the JSON file, which names it and its
digest.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.numpy
from safetensors import SafetensorError

from jaxbarron.certificates import (
    constant,
    embedding,
    interval,
    kernel,
    network,
    non_embedding,
    sharp,
    weighted,
)
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
from jaxbarron.certificates.interval import IntervalCertificate
from jaxbarron.certificates.kernel import Certificate
from jaxbarron.certificates.network import NetworkCertificate
from jaxbarron.certificates.non_embedding import NonEmbeddingCertificate
from jaxbarron.certificates.sharp import SharpCertificate
from jaxbarron.certificates.weighted import WeightCertificate
from jaxbarron.errors import CertificateFileError, JaxbarronError

__all__ = ["AnyCertificate", "load", "save", "to_document", "verify"]

AnyCertificate = (
    Certificate
    | EmbeddingCertificate
    | NonEmbeddingCertificate
    | ConstantCertificate
    | NetworkCertificate
    | IntervalCertificate
    | SharpCertificate
    | WeightCertificate
)


@dataclass(frozen=True)
class _Kind:
    type: type[Any]
    to_json: Callable[[Any], dict[str, Any]]
    from_json: Callable[..., Any]  # of the JSON object, and of the arrays where there are some
    check: Callable[[Any], Verification]
    to_arrays: Callable[[Any], dict[str, Any]] | None = None


_KINDS = {
    "kernel": _Kind(Certificate, kernel.to_json, kernel.from_json, kernel.check),
    "embedding": _Kind(
        EmbeddingCertificate, embedding.to_json, embedding.from_json, embedding.check
    ),
    "constant": _Kind(ConstantCertificate, constant.to_json, constant.from_json, constant.check),
    "network": _Kind(
        NetworkCertificate, network.to_json, network.from_json, network.check, network.to_arrays
    ),
    "interval-norm": _Kind(
        IntervalCertificate, interval.to_json, interval.from_json, interval.check
    ),
    "sharp": _Kind(SharpCertificate, sharp.to_json, sharp.from_json, sharp.check),
    "weight": _Kind(WeightCertificate, weighted.to_json, weighted.from_json, weighted.check),
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

    Example:
        >>> import dataclasses
        >>> from jaxbarron.certificates import constant_certificate
        >>> true = constant_certificate("tanh", 1)
        >>> bool(verify(true)), bool(verify(dataclasses.replace(true, upper=true.lower / 2)))
        (True, False)
    """
    if not isinstance(certificate, str | os.PathLike):
        return _checked(certificate)
    path = Path(certificate)
    data = read(path)
    if data.get("digest") != digest(data):
        return Verification(False, "the file was changed: its digest does not match its content")
    if "arrays" in data and _digest_of(_content(path, data)) != data["arrays"].get("digest"):
        return Verification(False, "the arrays were changed: their digest does not match")
    found = _from_json(data, path)
    changed = _differences(found, data)
    if changed:
        return Verification(
            False, f"the file says other things than its numbers do, in: {', '.join(changed)}"
        )
    return _checked(found)


def _differences(certificate: AnyCertificate, data: dict[str, Any]) -> list[str]:
    """The fields that :func:`save` would not write like this, the sentences among them."""
    try:
        written = to_document(certificate)
    except (ArithmeticError, LookupError, TypeError, ValueError, JaxbarronError):
        return ["its numbers, of which no sentence can be made"]
    if "arrays" in written and isinstance(data.get("arrays"), dict):
        written["arrays"] |= {"file": data["arrays"].get("file")}  # a name of the caller's
    both, empty = {**data, **written}, object()
    return sorted(
        key
        for key in both
        if key != "digest"
        and _canonical(written.get(key, empty)) != _canonical(data.get(key, empty))
    )


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=lambda _: "missing")


def _checked(certificate: AnyCertificate) -> Verification:
    try:
        if certificate.level != "rigorous":
            return Verification(
                False,
                f"its level is {certificate.level!r}: only rigorous claims can be derived again",
            )
        return _KINDS[_kind_of(certificate)].check(certificate)
    except (ArithmeticError, LookupError, TypeError, ValueError, JaxbarronError) as error:
        # numbers of which no theorem speaks: NaN, a singular system, a float that overflows
        return Verification(False, f"the claim cannot be derived: {error}")


def save(certificate: AnyCertificate, path: str | os.PathLike[str]) -> None:
    """Write a certificate as JSON, floats as hexadecimal strings; never half a file.

    The file is written beside its place under another name and then moved there.  Arrays are
    written first, to ``NAME-DIGEST.safetensors``: a certificate that stands there keeps its own.

    Raises:
        OSError: the file cannot be written; what stood there still does.

    Example:
        >>> import tempfile
        >>> from jaxbarron.certificates import constant_certificate
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(constant_certificate("tanh", 1), f"{folder}/tanh.json")
        ...     bool(verify(f"{folder}/tanh.json"))
        True
    """
    path, kind = Path(path), _KINDS[_kind_of(certificate)]
    data = to_document(certificate)
    if kind.to_arrays is not None:
        content = safetensors.numpy.save(kind.to_arrays(certificate))
        name = f"{path.stem}-{_digest_of(content)[:12]}.safetensors"
        data["arrays"] |= {"file": name}
        data |= {"digest": digest(data)}
        write_atomically(path.parent / name, content)
    write_atomically(path, (json.dumps(data, indent=1) + "\n").encode())


def to_document(certificate: AnyCertificate) -> dict[str, Any]:
    """What :func:`save` writes, as a JSON object; of arrays the digest alone."""
    kind = _kind_of(certificate)
    data: dict[str, Any] = {"format": FORMAT, "version": VERSION, "kind": kind}
    data |= _KINDS[kind].to_json(certificate)
    to_arrays = _KINDS[kind].to_arrays
    if to_arrays is not None:
        data["arrays"] = {"digest": _digest_of(safetensors.numpy.save(to_arrays(certificate)))}
    return data | {"digest": digest(data)}


def load(path: str | os.PathLike[str]) -> AnyCertificate:
    """Read a certificate; it is not verified: call :func:`verify` for that.

    Raises:
        CertificateFileError: the file is missing, no certificate, truncated, or of a later
            version.

    Example:
        >>> import tempfile
        >>> from jaxbarron.certificates import constant_certificate
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(constant_certificate("tanh", 1), f"{folder}/tanh.json")
        ...     load(f"{folder}/tanh.json") == constant_certificate("tanh", 1)
        True
    """
    return _from_json(read(Path(path)), Path(path))


def _digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _content(path: Path, data: dict[str, Any]) -> bytes:
    """The file of the arrays, which lies beside the certificate."""
    name = data["arrays"].get("file") if isinstance(data["arrays"], dict) else None
    if not isinstance(name, str) or Path(name).name != name:
        raise CertificateFileError(
            f"given: {path}, which names {name!r} as the file of its arrays; expected: the name of "
            "a file beside it; do: write it again with jaxbarron.save"
        )
    try:
        return (path.parent / name).read_bytes()
    except OSError as error:
        raise CertificateFileError(
            f"given: {path}, whose arrays {name} cannot be read ({error.strerror}); expected: both "
            "files in one folder; do: put them together, or write the certificate again"
        ) from None


def _from_json(data: dict[str, Any], path: Path) -> AnyCertificate:
    content = _content(path, data) if "arrays" in data else None
    try:
        kind = _KINDS[data["kind"]]
        if kind.to_arrays is None:
            return kind.from_json(data)
        if content is None:
            raise KeyError("arrays")
        return kind.from_json(data, safetensors.numpy.load(content))
    except (
        KeyError, IndexError, TypeError, ValueError, OverflowError, JaxbarronError, SafetensorError
    ) as error:  # fmt: skip
        raise CertificateFileError(
            f"given: a certificate whose content cannot be read ({type(error).__name__}: {error}); "
            "expected: every field as jaxbarron.save writes it; do: write the file again"
        ) from None


def _kind_of(certificate: AnyCertificate) -> str:
    return next(name for name, kind in _KINDS.items() if isinstance(certificate, kind.type))
