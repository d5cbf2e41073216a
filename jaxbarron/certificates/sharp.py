"""The certificate of a sharp constant: stages, plans and a functional, proved again in balls."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from jaxbarron.activations import Activation
from jaxbarron.balls.notation import rounded_down, rounded_up
from jaxbarron.bounds.sharp.evidence import Evidence, evidence_from_json, evidence_to_json
from jaxbarron.bounds.sharp.proof import SharpConstant, check_evidence
from jaxbarron.certificates.files import (
    Level,
    Verification,
    activation_from_json,
    activation_to_json,
)

__all__ = ["SharpCertificate", "check", "from_json", "sharp_certificate", "to_json"]


@dataclass(frozen=True)
class SharpCertificate:
    """``lower <= C <= upper`` for the embedding constant of sigma in RePU_s.

    Attributes:
        source: sigma.
        s: the target is RePU_s.
        order: p of the weight ``(1 + rho)^p``.
        lower: the lower bound.
        upper: the upper bound.
        evidence: what both follow from (THEORY.md, Theorem One reach).
    """

    source: Activation
    s: int
    order: int
    lower: float
    upper: float
    evidence: Evidence
    level: Level = "rigorous"
    theorem: str = "Theorem One reach"

    @property
    def claim(self) -> str:
        """The claim as a sentence."""
        return (
            f"{self.source.name} embeds in the Barron space of repu({self.s}) at order "
            f"{self.order} with {rounded_down(self.lower, 12)} <= C <= {rounded_up(self.upper, 12)}"
        )


def sharp_certificate(found: SharpConstant) -> SharpCertificate:
    """The certificate of what :func:`jaxbarron.bounds.sharp.sharp_constant` found.

    Example:
        >>> from jaxbarron.activations import activation
        >>> from jaxbarron.bounds.sharp import sharp_constant
        >>> bool(check(sharp_certificate(sharp_constant(activation("tanh"), 1))))
        True
    """
    return SharpCertificate(
        found.source, found.s, found.order, found.lower, found.upper, found.evidence
    )


def check(certificate: SharpCertificate) -> Verification:
    """Prove both bounds again from the evidence."""
    if certificate.theorem != SharpConstant.theorem:
        return Verification(False, f"it rests on {SharpConstant.theorem}")
    found = check_evidence(
        certificate.source, certificate.s, certificate.order, certificate.evidence
    )
    if certificate.upper == math.inf or not found.upper <= certificate.upper:
        return Verification(
            False, f"the upper bound is claimed as {certificate.upper!r}; proved: {found.upper!r}"
        )
    if not certificate.lower <= found.lower:
        return Verification(
            False, f"the lower bound is claimed as {certificate.lower!r}; proved: {found.lower!r}"
        )
    return Verification(True, "both bounds were proved again: " + certificate.claim)


def to_json(certificate: SharpCertificate) -> dict[str, Any]:
    """The claim and its evidence as a JSON object, floats as hexadecimal strings."""
    return {
        "level": certificate.level,
        "theorem": certificate.theorem,
        "claim": certificate.claim,
        "source": activation_to_json(certificate.source),
        "s": certificate.s,
        "order": certificate.order,
        "lower": certificate.lower.hex(),
        "upper": certificate.upper.hex(),
        "evidence": evidence_to_json(certificate.evidence),
    }


def from_json(data: dict[str, Any]) -> SharpCertificate:
    """The inverse of :func:`to_json`; KeyError, TypeError or ValueError where it is none."""
    for key in ("s", "order"):
        if not isinstance(data[key], int) or isinstance(data[key], bool):
            raise ValueError(f"{key} is {data[key]!r}, not a whole number")
    if data["level"] not in ("rigorous", "float", "sampled"):
        raise ValueError(f"the level is {data['level']!r}")
    return SharpCertificate(
        activation_from_json(data["source"]),
        data["s"],
        data["order"],
        float.fromhex(data["lower"]),
        float.fromhex(data["upper"]),
        evidence_from_json(data["evidence"]),
        data["level"],
        str(data["theorem"]),
    )
