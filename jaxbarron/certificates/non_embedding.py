"""The certificate of a non-embedding: a witness with its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxbarron.activations import Activation
from jaxbarron.bounds.witnesses import Witness, check_witness
from jaxbarron.certificates.files import (
    Level,
    Verification,
    activation_from_json,
    activation_to_json,
)

__all__ = ["NonEmbeddingCertificate", "check", "from_json", "to_json"]


@dataclass(frozen=True)
class NonEmbeddingCertificate:
    """The claim that the Barron space of one activation does not lie in that of another.

    Attributes:
        witness: what proves it; see :class:`jaxbarron.bounds.witnesses.Witness`.
    """

    witness: Witness
    level: Level = "rigorous"

    @property
    def source(self) -> Activation:
        """Sigma, the activation that is not represented."""
        return self.witness.source

    @property
    def target(self) -> Activation:
        """Tau."""
        return self.witness.target

    @property
    def theorem(self) -> str:
        """The theorem of THEORY.md that the claim rests on."""
        return self.witness.theorem

    @property
    def claim(self) -> str:
        """The claim as a sentence."""
        return self.witness.claim


def check(certificate: NonEmbeddingCertificate) -> Verification:
    """Derive every number of the witness again."""
    reason = check_witness(certificate.witness)
    if reason is not None:
        return Verification(False, reason)
    return Verification(True, "every number was derived again: " + certificate.claim)


def to_json(certificate: NonEmbeddingCertificate) -> dict[str, Any]:
    """The claim and its numbers as a JSON object, floats as hexadecimal strings."""
    witness = certificate.witness
    return {
        "level": certificate.level,
        "theorem": witness.theorem,
        "claim": witness.claim,
        "source": activation_to_json(witness.source),
        "target": activation_to_json(witness.target),
        "order": witness.order,
        "witness": witness.kind,
        "derivative": witness.derivative,
        "location": float(witness.location).hex(),
        "gap": float(witness.gap).hex(),
        "atom_bound": float(witness.atom_bound).hex(),
        "ratios": [[float(h).hex(), float(ratio).hex()] for h, ratio in witness.ratios],
    }


def from_json(data: dict[str, Any]) -> NonEmbeddingCertificate:
    """The inverse of :func:`to_json`; KeyError, TypeError or ValueError where it is none."""
    order, derivative = data["order"], data["derivative"]
    for name, number in (("order", order), ("derivative", derivative)):
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= 16:
            raise ValueError(f"the {name} is {number!r}, not a whole number from 0 to 16")
    if data["witness"] not in ("jump", "smoothness", "scaling", "growth"):
        raise ValueError(f"the witness is of the unknown kind {data['witness']!r}")
    if data["level"] not in ("rigorous", "float", "sampled"):
        raise ValueError(f"the level is {data['level']!r}")
    return NonEmbeddingCertificate(
        Witness(
            activation_from_json(data["source"]),
            activation_from_json(data["target"]),
            order,
            data["witness"],
            derivative,
            float.fromhex(data["location"]),
            float.fromhex(data["gap"]),
            float.fromhex(data["atom_bound"]),
            tuple((float.fromhex(h), float.fromhex(ratio)) for h, ratio in data["ratios"]),
            str(data["theorem"]),
        ),
        data["level"],
    )
