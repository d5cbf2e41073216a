"""The certificate of a norm on an interval: both bounds, and the numbers that prove them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, get_args

from jaxbarron.activations import Activation
from jaxbarron.balls.notation import all_digits, rounded_down, rounded_up
from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_norm import Bracket, interval_norm, theorem_of
from jaxbarron.bounds.interval_problem import Source
from jaxbarron.bounds.interval_rigorous import Evidence, rigorous_bounds
from jaxbarron.certificates.files import (
    Level,
    Verification,
    activation_from_json,
    activation_to_json,
)
from jaxbarron.errors import UnreachableTargetError
from jaxbarron.norms import Weight

__all__ = [
    "IntervalCertificate",
    "certificate_of_bracket",
    "check",
    "from_json",
    "interval_certificate",
    "to_json",
]

_FIELDS = ("moments", "edges", "shares", "atoms", "nodes", "particles")


@dataclass(frozen=True)
class IntervalCertificate:
    """``lower <= ||f|| <= upper`` in B_RePU_s of [-1, 1], ``f(y) = source(spread y + offset)``.

    Theorem Interval norm, Theorem Bounds at every iterate.

    Attributes:
        source: sigma, or a network as one function.
        s: the power of RePU_s.
        weight: V; see :func:`jaxbarron.weight_values`.
        spread: w >= 0.
        offset: b.
        lower: the lower bound.
        upper: the upper bound.
        evidence: M, the shares and the particles.
        theorem: of THEORY.md.
    """

    source: Activation
    s: int
    weight: Weight
    spread: float
    offset: float
    lower: float
    upper: float
    evidence: Evidence
    theorem: str
    level: Level = "rigorous"

    @property
    def claim(self) -> str:
        """The claim as a sentence."""
        weight = "" if self.weight == "homogeneous" else f", weight {self.weight}"
        inner = f"{all_digits(self.spread)} y + {all_digits(self.offset)}"
        norm = f"||{self.source.name}({inner})||"
        return (
            f"{rounded_down(self.lower, 12)} <= {norm} <= {rounded_up(self.upper, 12)} in "
            f"B_RePU_{self.s}([-1, 1]){weight}"
        )


def interval_certificate(f: Source, s: int, **options: Any) -> IntervalCertificate:
    """The certificate of :func:`jaxbarron.interval_norm` at the level rigorous, same arguments.

    Raises:
        UnreachableTargetError: the norm is infinite, or no bound was found.

    Example:
        >>> found = interval_certificate("softplus", 1, spread=2.0)
        >>> found.upper - found.lower < 1e-9
        True
    """
    return certificate_of_bracket(interval_norm(f, s, level="rigorous", **options))


def certificate_of_bracket(bracket: Bracket) -> IntervalCertificate:
    """The certificate of a bracket of the level rigorous.

    Raises:
        UnreachableTargetError: a bracket of the level float, or without a finite upper bound.
    """
    if bracket.evidence is None or not math.isfinite(bracket.upper):
        raise UnreachableTargetError(
            f"given: a norm without a rigorous finite bound ({bracket.reason or bracket.level}); "
            "expected: a bracket of the level 'rigorous' that is finite; do: lower s, or pass "
            "level='rigorous'"
        )
    sigma, spread, offset = bracket.problem.single()
    return IntervalCertificate(
        sigma, bracket.s, bracket.weight, spread, offset, bracket.lower, bracket.upper,
        bracket.evidence, bracket.theorem,
    )  # fmt: skip


def check(certificate: IntervalCertificate) -> Verification:
    """Derive both bounds again from the evidence; they must lie within the claimed ones."""
    body = GaugeBody(certificate.s, certificate.weight)
    evidence = certificate.evidence
    if len(evidence.moments) != body.size or len(evidence.shares) != len(evidence.edges) + 1:
        return Verification(False, "the evidence has the wrong number of moments or of shares")
    if not certificate.spread >= 0 or list(evidence.edges) != sorted(evidence.edges):
        return Verification(False, "the spread is negative, or the edges are out of order")
    theorem = theorem_of(certificate.s)
    if certificate.theorem != theorem:
        return Verification(False, f"it rests on {theorem}")
    found = rigorous_bounds(
        certificate.source, body, certificate.spread, certificate.offset, evidence
    )
    if not (certificate.lower <= found.lower and found.upper <= certificate.upper):
        return Verification(
            False,
            f"claimed: [{certificate.lower!r}, {certificate.upper!r}]; "
            f"proved: [{found.lower!r}, {found.upper!r}] {found.reason}".rstrip(),
        )
    return Verification(True, "derived again: " + certificate.claim)


def to_json(certificate: IntervalCertificate) -> dict[str, Any]:
    """The claim as a JSON object, floats as hexadecimal strings."""
    return {
        "level": certificate.level,
        "theorem": certificate.theorem,
        "claim": certificate.claim,
        "source": activation_to_json(certificate.source),
        "s": certificate.s,
        "weight": certificate.weight,
        "spread": certificate.spread.hex(),
        "offset": certificate.offset.hex(),
        "lower": certificate.lower.hex(),
        "upper": certificate.upper.hex(),
        "evidence": {
            name: [v.hex() for v in getattr(certificate.evidence, name)] for name in _FIELDS
        },
    }


def from_json(data: dict[str, Any]) -> IntervalCertificate:
    """The inverse of :func:`to_json`; KeyError, TypeError or ValueError where it is none."""
    if data["level"] not in get_args(Level):
        raise ValueError(f"the level is {data['level']!r}")
    GaugeBody(data["s"], data["weight"])
    numbers = {name: tuple(map(_finite, data["evidence"][name])) for name in _FIELDS}
    if len(numbers["nodes"]) != len(numbers["particles"]):
        raise ValueError("as many nodes as particles are needed")
    return IntervalCertificate(
        activation_from_json(data["source"]),
        data["s"],
        data["weight"],
        _finite(data["spread"]),
        _finite(data["offset"]),
        _finite(data["lower"]),
        _finite(data["upper"]),
        Evidence(**numbers),
        str(data["theorem"]),
        data["level"],
    )


def _finite(text: str) -> float:
    value = float.fromhex(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value
