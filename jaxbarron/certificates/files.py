"""The file of a certificate: JSON with bit-exact floats and a digest, never half written."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from jaxbarron.activations import Activation, Kink, activation, is_known_name, is_registered
from jaxbarron.errors import CertificateFileError
from jaxbarron.programs import Program, evaluate_program

__all__ = [
    "FORMAT",
    "VERSION",
    "Level",
    "Verification",
    "activation_from_json",
    "activation_to_json",
    "digest",
    "read",
    "write_atomically",
]

FORMAT = "jaxbarron-certificate"
VERSION = 1

Level = Literal["rigorous", "float", "sampled"]


@dataclass(frozen=True)
class Verification:
    """Whether a certificate's claim was derived again, and the reason in words; truthy if so."""

    holds: bool
    reason: str

    def __bool__(self) -> bool:
        return self.holds


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that at no moment a half-written one stands in its place.

    Raises:
        OSError: it cannot be written; ``filename`` is the path asked for.
    """
    try:
        _write(path, content)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def _write(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp makes private files
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def digest(data: dict[str, Any]) -> str:
    """The fingerprint of everything in the file but the fingerprint itself."""
    content = {key: value for key, value in data.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def activation_to_json(sigma: Activation) -> dict[str, Any]:
    """A registered activation by its name, a user's own function written out.

    Its kinks are written too: what a user declares of them is part of what the claim is about.
    """
    if is_registered(sigma):
        return {"name": sigma.name}
    data: dict[str, Any] = {"name": sigma.name, "program": sigma.program.to_json()}
    if sigma.kinks:
        data["kinks"] = [
            {"location": float(k.location).hex(), "jumps": [float(j).hex() for j in k.jumps]}
            for k in sigma.kinks
        ]
    return data


def activation_from_json(data: Any) -> Activation:
    """The inverse of :func:`activation_to_json`; ValueError or KeyError where it is none."""
    name = data["name"]
    if "program" not in data:
        return activation(name)
    program = Program.from_json(data["program"])
    if is_known_name(str(name)):
        raise ValueError(f"a function of its own under the registered name {name!r}")

    def fn(z: Any) -> Any:
        return evaluate_program(program, z)

    kinks = tuple(map(_kink, data.get("kinks", ())))  # files of earlier releases have none
    places = [k.location for k in kinks]
    if places != sorted(set(places)):
        raise ValueError("the kinks are not in ascending order")
    sigma = Activation(str(name), fn, family=str(name), kinks=kinks)
    # the stored program itself is what the claim is about, not a second trace of it
    sigma.__dict__["program"] = program
    return sigma


def _kink(data: Any) -> Kink:
    place, *jumps = (float.fromhex(x) for x in (data["location"], *data["jumps"]))
    if not all(map(math.isfinite, (place, *jumps))):
        raise ValueError("a kink that is not finite")
    first, second, third, fourth = jumps
    return Kink(place, (first, second, third, fourth))


def read(path: Path) -> dict[str, Any]:
    """The content of a certificate file; CertificateFileError where it is none."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise CertificateFileError(
            f"given: {path}, which cannot be read ({error.strerror}); expected: a certificate; "
            "do: check the path"
        ) from None
    except (ValueError, RecursionError) as error:
        raise CertificateFileError(
            f"given: {path}, which is no JSON, or is truncated ({error}); expected: a certificate "
            "file; do: write it again with jaxbarron.save"
        ) from None
    if not isinstance(data, dict) or cast(dict[str, Any], data).get("format") != FORMAT:
        raise CertificateFileError(
            f"given: {path}, a JSON file of another kind; expected: a certificate "
            f'("format": "{FORMAT}"); do: give a file that jaxbarron wrote'
        )
    content = cast(dict[str, Any], data)
    version = content.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version > VERSION:
        raise CertificateFileError(
            f"given: {path}, a certificate of version {version}; expected: at most version "
            f"{VERSION}; do: install a later jaxbarron"
        )
    return content
