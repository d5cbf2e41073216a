"""Certificates: a claim, its level, and the exact numbers that a machine needs to check it again.

A certificate holds the kernel bit by bit.  :func:`verify` re-derives the claim from these numbers
by ball arithmetic alone; it shares no code with the optimiser that found them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from jaxbarron.activations import Activation, activation, is_known_name, is_registered
from jaxbarron.bounds.kernel_error import KernelError, kernel_error
from jaxbarron.errors import CertificateFileError, JaxbarronError, UsageError
from jaxbarron.measures import ParticleMeasure, check_kernel
from jaxbarron.programs import Program, evaluate_program

__all__ = [
    "Certificate",
    "ErrorBound",
    "Verification",
    "kernel_certificate",
    "load",
    "save",
    "verify",
]

FORMAT = "jaxbarron-certificate"
VERSION = 1

Level = Literal["rigorous", "float", "sampled"]


@dataclass(frozen=True)
class ErrorBound:
    """Bounds on the sup-norm error of one derivative: ``lower <= sup |error| <= upper``.

    ``where`` is a point near which the error is at least ``lower``.
    """

    derivative: int
    lower: float
    upper: float
    where: float


@dataclass(frozen=True)
class Certificate:
    """The claim that a kernel represents a source activation up to a stated error.

    For every real z with ``|z| <= reach`` and every j in ``errors``:
    ``|d^j/dz^j (sigma(z) - sum_k c_k tau(alpha_k z + beta_k))| <= errors[j].upper``, where sigma,
    tau and the kernel are the real functions that their stored floats define; for j >= 1 at
    every z where the j-th derivative exists.

    Attributes:
        source: sigma.
        target: tau.
        kernel: the exact floats that the claim is about.
        reach: how far the claim holds; infinity: on all of R.
        errors: the bounds, one for each derivative from 0 on.
        level: ``"rigorous"``, ``"float"`` or ``"sampled"`` (THEORY.md, Levels).
        theorem: the theorem of THEORY.md that the claim rests on.
    """

    source: Activation
    target: Activation
    kernel: ParticleMeasure = field(repr=False)
    reach: float
    errors: tuple[ErrorBound, ...]
    level: Level = "rigorous"
    theorem: str = "Theorem Kernel error"

    @property
    def upper(self) -> float:
        """The certified sup-norm error."""
        return self.errors[0].upper

    @property
    def lower(self) -> float:
        """A lower bound on the sup-norm error: it is attained near ``errors[0].where``."""
        return self.errors[0].lower

    @property
    def where_it_holds(self) -> str:
        """The domain of the claim in words."""
        return "all of R" if math.isinf(self.reach) else f"|z| <= {self.reach:g}"

    @property
    def claim(self) -> str:
        """The claim as a sentence."""
        count = self.kernel.particles
        of = "" if count == 1 else f" of {count} particles"
        sentence = (
            f"On {self.where_it_holds}, {self.source.name} and its {self.target.name} kernel{of} "
            f"differ by at most {self.upper:.6g}"
        )
        for error in self.errors[1:]:
            sentence += f", their derivatives of order {error.derivative} by {error.upper:.6g}"
        return sentence + "."


@dataclass(frozen=True)
class Verification:
    """Whether a certificate's claim was derived again, and the reason in words; truthy if so."""

    holds: bool
    reason: str

    def __bool__(self) -> bool:
        return self.holds


def kernel_certificate(
    kernel: ParticleMeasure,
    source: str | Activation,
    target: str | Activation,
    *,
    reach: float | None = None,
    derivatives: int = 0,
) -> Certificate:
    """Certify the error of any kernel, however it was found (THEORY.md, Theorem Kernel error).

    Args:
        kernel: d = m = 1, known numbers; read as doubles.
        source: sigma.
        target: tau.
        reach: certify on ``|z| <= reach``; None: on all of R.
        derivatives: certify the derivatives up to this order too, at most s - 1 for RePU_s.

    Returns:
        A certificate of level ``rigorous``; its ``upper`` is infinite where the error is.

    Raises:
        ShapeError: the measure is no kernel.
        UsageError: a derivative that the target does not have.
        UnsupportedPrimitiveError: an activation uses a primitive without a rule.

    Example:
        >>> from jaxbarron.measures import unit_kernel
        >>> certificate = kernel_certificate(unit_kernel(), "gelu", "gelu_tanh")
        >>> 4.73e-4 < certificate.upper < 4.74e-4
        True
    """
    sigma, tau = activation(source), activation(target)
    check_kernel(kernel)
    exact = ParticleMeasure(
        *(np.asarray(x, np.float64) for x in (kernel.weights, kernel.directions, kernel.offsets))
    )
    limit = math.inf if reach is None else float(reach)
    if derivatives < 0 or (derivatives and tau.homogeneity and derivatives >= tau.homogeneity):
        raise UsageError(
            f"given: derivatives={derivatives} for the target {tau.name}; expected: at most the "
            "order to which it is continuously differentiable; do: for RePU_s ask for s - 1"
        )
    errors = tuple(
        _bound(j, _error(exact, sigma, tau, limit, j, rel=1e-3)) for j in range(derivatives + 1)
    )
    return Certificate(sigma, tau, exact, limit, errors)


def _bound(derivative: int, error: KernelError) -> ErrorBound:
    return ErrorBound(derivative, error.lower, error.upper, error.where)


def _error(
    kernel: ParticleMeasure, sigma: Activation, tau: Activation, reach: float, j: int, rel: float
) -> KernelError:
    source, target = sigma.program, tau.program
    if source == target and _is_unit(kernel):
        return KernelError(0.0, 0.0, 0.0, reach, j)
    return kernel_error(
        source,
        target,
        kernel.weights[:, 0],
        kernel.directions[:, 0],
        kernel.offsets,
        reach=reach,
        derivative=j,
        rel=rel,
        splits=[kink.location for kink in sigma.kinks],
        target_splits=[kink.location for kink in tau.kinks],
        target_homogeneity=tau.homogeneity,
    )


def _is_unit(kernel: ParticleMeasure) -> bool:
    leaves = (kernel.weights, kernel.directions, kernel.offsets)
    return kernel.particles == 1 and [float(x.item()) for x in leaves] == [1.0, 1.0, 0.0]


def verify(certificate: Certificate | str | os.PathLike[str]) -> Verification:
    """Derive a certificate's claim again from its numbers alone, by ball arithmetic.

    Args:
        certificate: a certificate, or the path of a file that holds one.

    Returns:
        A truthy :class:`Verification` if every bound was derived again; otherwise falsy, with
        the bound that fails and the value that was found.

    Raises:
        CertificateFileError: the file is no certificate, is truncated, or is of a later version.
    """
    if isinstance(certificate, Certificate):
        return _checked(certificate)
    data = _read(Path(certificate))
    if data.get("digest") != _digest(data):
        return Verification(False, "the file was changed: its digest does not match its content")
    return _checked(_from_json(data))


def _checked(certificate: Certificate) -> Verification:
    try:
        return _verify(certificate)
    except JaxbarronError as error:
        return Verification(False, f"the claim cannot be derived: {error}")


def _verify(certificate: Certificate) -> Verification:
    if certificate.level != "rigorous":
        return Verification(
            False, f"its level is {certificate.level!r}: only rigorous claims can be derived again"
        )
    for position, claimed in enumerate(certificate.errors):
        j = claimed.derivative
        if j != position or math.isnan(claimed.upper) or claimed.upper < 0:
            return Verification(False, f"bound {position} is not well formed")
        found = None
        for rel in (1e-3, 1e-4, 1e-6):
            found = _error(
                certificate.kernel,
                certificate.source,
                certificate.target,
                certificate.reach,
                j,
                rel,
            )
            if found.lower > claimed.upper:
                return Verification(
                    False,
                    f"the error of derivative {j} is at least {found.lower:.9g} (at z = "
                    f"{found.where:.9g}), the claim says at most {claimed.upper:.9g}",
                )
            if claimed.lower > found.upper:
                return Verification(
                    False,
                    f"the error of derivative {j} is at most {found.upper:.9g}, the claim says "
                    f"that {claimed.lower:.9g} is attained",
                )
            if found.upper <= claimed.upper and claimed.lower <= found.lower:
                break
        else:
            assert found is not None
            return Verification(
                False,
                f"the error of derivative {j} lies in [{found.lower:.9g}, {found.upper:.9g}]; this "
                f"does not prove the claim [{claimed.lower:.9g}, {claimed.upper:.9g}]",
            )
    return Verification(True, "every bound was derived again: " + certificate.claim)


# ----------------------------------------------------------------- the file


def save(certificate: Certificate, path: str | os.PathLike[str]) -> None:
    """Write a certificate as JSON, floats as hexadecimal strings; never half a file.

    The file is written beside its place under another name and then moved there.
    """
    data = _to_json(certificate)
    data["digest"] = _digest(data)
    write_atomically(Path(path), (json.dumps(data, indent=1) + "\n").encode())


def load(path: str | os.PathLike[str]) -> Certificate:
    """Read a certificate; it is not verified: call :func:`verify` for that.

    Raises:
        CertificateFileError: the file is missing, no certificate, truncated, or of a later
            version.
    """
    return _from_json(_read(Path(path)))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that at no moment a half-written one stands in its place."""
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


def _digest(data: dict[str, Any]) -> str:
    content = {key: value for key, value in data.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _to_json(certificate: Certificate) -> dict[str, Any]:
    kernel = certificate.kernel
    return {
        "format": FORMAT,
        "version": VERSION,
        "kind": "kernel",
        "level": certificate.level,
        "theorem": certificate.theorem,
        "claim": certificate.claim,
        "source": _activation_to_json(certificate.source),
        "target": _activation_to_json(certificate.target),
        "reach": float(certificate.reach).hex(),
        "errors": [
            {
                "derivative": error.derivative,
                "lower": float(error.lower).hex(),
                "upper": float(error.upper).hex(),
                "where": float(error.where).hex(),
            }
            for error in certificate.errors
        ],
        "kernel": {
            "weights": [float(x).hex() for x in kernel.weights[:, 0]],
            "directions": [float(x).hex() for x in kernel.directions[:, 0]],
            "offsets": [float(x).hex() for x in kernel.offsets],
        },
    }


def _activation_to_json(sigma: Activation) -> dict[str, Any]:
    # A registered activation is named; a user's own function is written out.
    if is_registered(sigma):
        return {"name": sigma.name}
    return {"name": sigma.name, "program": sigma.program.to_json()}


def _activation_from_json(data: Any) -> Activation:
    name = data["name"]
    if "program" not in data:
        return activation(name)
    program = Program.from_json(data["program"])
    if is_known_name(str(name)):
        raise ValueError(f"a function of its own under the registered name {name!r}")

    def fn(z: Any) -> Any:
        return evaluate_program(program, z)

    sigma = Activation(str(name), fn, family=str(name))
    # the stored program itself is what the claim is about, not a second trace of it
    sigma.__dict__["program"] = program
    return sigma


def _read(path: Path) -> dict[str, Any]:
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
    read = cast(dict[str, Any], data)
    version = read.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version > VERSION:
        raise CertificateFileError(
            f"given: {path}, a certificate of version {version}; expected: at most version "
            f"{VERSION}; do: install a later jaxbarron"
        )
    return read


def _from_json(data: dict[str, Any]) -> Certificate:
    try:
        numbers = data["kernel"]
        weights, directions, offsets = (
            np.array([float.fromhex(x) for x in numbers[name]])
            for name in ("weights", "directions", "offsets")
        )
        kernel = ParticleMeasure(weights[:, None], directions[:, None], offsets)
        errors = tuple(
            ErrorBound(
                int(error["derivative"]),
                float.fromhex(error["lower"]),
                float.fromhex(error["upper"]),
                float.fromhex(error["where"]),
            )
            for error in data["errors"]
        )
        reach = float.fromhex(data["reach"])
        if not errors or not reach > 0 or data["level"] not in ("rigorous", "float", "sampled"):
            raise ValueError("a bound, the reach or the level is missing or out of range")
        return Certificate(
            _activation_from_json(data["source"]),
            _activation_from_json(data["target"]),
            kernel,
            reach,
            errors,
            data["level"],
            str(data["theorem"]),
        )
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, JaxbarronError) as error:
        raise CertificateFileError(
            f"given: a certificate whose content cannot be read ({type(error).__name__}: {error}); "
            "expected: every field as jaxbarron.save writes it; do: write the file again"
        ) from None
