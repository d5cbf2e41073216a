"""The certificate of a constant in another weight than the reach's, proved again in balls."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from jaxbarron.activations import Activation, activation, repu
from jaxbarron.balls.notation import rounded_down, rounded_up
from jaxbarron.bounds.sharp.euclidean_evidence import (
    EuclideanEvidence,
    euclidean_from_json,
    euclidean_to_json,
)
from jaxbarron.bounds.sharp.weights import OtherWeight, constant_in_weight, proved_in_weight
from jaxbarron.certificates.files import (
    Level,
    Verification,
    activation_from_json,
    activation_to_json,
)
from jaxbarron.errors import UsageError

__all__ = ["WeightCertificate", "check", "from_json", "to_json", "weight_certificate"]


@dataclass(frozen=True)
class WeightCertificate:
    """``lower <= C <= upper`` for sigma in RePU_s, both sides in another weight than the reach's.

    Attributes:
        source: sigma.
        weight: ``"bias_free"`` (Theorem Bias free) or ``"l2"`` (Theorem Euclidean weights).
        s: the target is RePU_s.
        lower: the lower bound; inf where the constant is proved to be infinite.
        upper: the upper bound; inf also where none is known.
        theorem: of THEORY.md.
        reason: why the upper bound is infinite; empty otherwise.
        evidence: what both bounds of ``"l2"`` follow from; None where the theorem is enough.
    """

    source: Activation
    weight: OtherWeight
    s: int
    lower: float
    upper: float
    theorem: str
    reason: str
    evidence: EuclideanEvidence | None
    level: Level = "rigorous"

    @property
    def claim(self) -> str:
        """The claim as a sentence."""
        name = "bias-free" if self.weight == "bias_free" else "Euclidean"
        where = f"of {self.source.name} in repu({self.s}), {name} weights"
        if math.isinf(self.lower):
            return f"the constant {where}, is infinite: {self.reason}"
        return f"{rounded_down(self.lower, 12)} <= C <= {rounded_up(self.upper, 12)}, C {where}"


def weight_certificate(
    source: str | Activation | Callable[[Any], Any],
    s: int = 1,
    *,
    weight: Literal["bias_free", "l2"],
    rel_gap: float = 1e-6,
) -> WeightCertificate:
    """The certificate of :func:`jaxbarron.embedding_constant` in the weight bias-free or l2.

    Registered activations have theirs in the shipped table; for others a search takes seconds.

    Args:
        source: sigma, no RePU.
        s: the target is RePU_s, from 1 to 16; 1 for ``"l2"``.
        weight: of both sides: ``"bias_free"`` or ``"l2"``.
        rel_gap: the relative gap aimed at for ``"l2"``, 1e-12 to 1; 1e-7 is the least reached.

    Raises:
        UnknownActivationError: no such name.
        UsageError: a RePU as the source, another weight, or s or the gap out of range.

    Example:
        >>> found = weight_certificate("tanh", weight="l2")
        >>> found.claim
        '2.11658234593 <= C <= 2.1165838601, C of tanh in repu(1), Euclidean weights'
    """
    sigma = activation(source)
    _check_arguments(sigma, weight, s)
    if not 1e-12 <= rel_gap <= 1:
        raise UsageError(
            f"given: rel_gap={rel_gap!r}; expected: from 1e-12 to 1; do: e.g. rel_gap=1e-6"
        )
    found, evidence = constant_in_weight(sigma, weight, s, rel_gap)
    bounds = found.lower, found.upper
    return WeightCertificate(sigma, weight, s, *bounds, found.theorem, found.reason, evidence)


def _check_arguments(sigma: Activation, weight: str, s: Any) -> None:
    whole = isinstance(s, int) and not isinstance(s, bool)
    most = {"bias_free": 16, "l2": 1}.get(weight, 0)
    if sigma.homogeneity is not None or not (whole and 1 <= s <= most):
        raise UsageError(
            f"given: {sigma.name} in RePU_s with s={s!r}, weight={weight!r}; expected: a source "
            "that is no RePU, 'bias_free' with s from 1 to 16, or 'l2' with s=1; do: e.g. "
            "weight_certificate('tanh', weight='l2')"
        )


def check(certificate: WeightCertificate) -> Verification:
    """Prove both bounds again, those of ``"l2"`` from the evidence."""
    sigma, weight, s = certificate.source, certificate.weight, certificate.s
    _check_arguments(sigma, weight, s)
    found = proved_in_weight(sigma, weight, s, certificate.evidence)
    if found.theorem != certificate.theorem:
        return Verification(False, f"it rests on {found.theorem}, not on {certificate.theorem}")
    if found.reason != certificate.reason:
        return Verification(False, f"the reason is {found.reason!r}, not {certificate.reason!r}")
    for name, claimed, proved, holds in (
        ("upper", certificate.upper, found.upper, found.upper <= certificate.upper),
        ("lower", certificate.lower, found.lower, certificate.lower <= found.lower),
    ):
        if not holds:
            return Verification(
                False, f"the {name} bound is claimed as {claimed!r}; proved: {proved!r}"
            )
    return Verification(True, f"both bounds were proved again: {certificate.claim}")


def to_json(certificate: WeightCertificate) -> dict[str, Any]:
    """The claim and its evidence as a JSON object, floats as hexadecimal strings."""
    evidence = certificate.evidence
    return {
        "level": certificate.level,
        "theorem": certificate.theorem,
        "claim": certificate.claim,
        "source": activation_to_json(certificate.source),
        "target": repu(certificate.s).name,
        "weight": certificate.weight,
        "s": certificate.s,
        "lower": certificate.lower.hex(),
        "upper": certificate.upper.hex(),
        "reason": certificate.reason,
        "evidence": None if evidence is None else euclidean_to_json(evidence),
    }


def from_json(data: dict[str, Any]) -> WeightCertificate:
    """The inverse of :func:`to_json`; KeyError, TypeError or ValueError where it is none."""
    if data["weight"] not in ("bias_free", "l2"):
        raise ValueError(f"the weight is {data['weight']!r}")
    if data["level"] not in ("rigorous", "float", "sampled"):
        raise ValueError(f"the level is {data['level']!r}")
    if not isinstance(data["s"], int) or isinstance(data["s"], bool):
        raise ValueError(f"s is {data['s']!r}, not a whole number")
    evidence = data["evidence"]
    return WeightCertificate(
        activation_from_json(data["source"]),
        data["weight"],
        data["s"],
        float.fromhex(data["lower"]),
        float.fromhex(data["upper"]),
        str(data["theorem"]),
        str(data["reason"]),
        None if evidence is None else euclidean_from_json(evidence),
        data["level"],
    )
