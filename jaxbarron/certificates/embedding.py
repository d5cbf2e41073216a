"""The certificate of an embedding: a path of edges with their constants, and a lower bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from jaxbarron.activations import Activation
from jaxbarron.balls.notation import rounded_down, rounded_up
from jaxbarron.balls.outward import product_up
from jaxbarron.bounds.edges import RULES, Edge, checked_order
from jaxbarron.bounds.lower_bounds import FUNCTIONALS, LowerBound
from jaxbarron.certificates.files import (
    Level,
    Verification,
    activation_from_json,
    activation_to_json,
)

__all__ = ["EmbeddingCertificate", "check", "from_json", "to_json"]


@dataclass(frozen=True)
class EmbeddingCertificate:
    """The claim that B_sigma lies in B_tau, with an interval for the embedding constant.

    ``lower <= C <= upper`` for ``C = sup ||sigma(w . x + b)||_(B_tau) / V_sigma(w, b)`` on the unit
    ball of any norm (THEORY.md, Theorem Embedding constant, Theorem Chain).

    Attributes:
        route: the edges of a path from sigma to tau; ``upper`` is the product of their bounds.
        bound: a lower bound of C, or None.
        upper: the claimed upper bound.
    """

    route: tuple[Edge, ...]
    bound: LowerBound | None
    upper: float
    level: Level = "rigorous"

    @property
    def source(self) -> Activation:
        """Sigma."""
        return self.route[0].source

    @property
    def target(self) -> Activation:
        """Tau."""
        return self.route[-1].target

    @property
    def order(self) -> int:
        """p, of the weight ``(1 + rho)^p`` of every activation but RePU_s."""
        return self.route[0].order

    @property
    def lower(self) -> float:
        """The lower bound of C; 0 if none is claimed."""
        return 0.0 if self.bound is None else self.bound.value

    @property
    def theorem(self) -> str:
        """The theorem of the route."""
        return self.route[0].theorem if len(self.route) == 1 else "Theorem Chain"

    @property
    def claim(self) -> str:
        """The claim as a sentence."""
        steps = [self.route[0].source.name, *(edge.target.name for edge in self.route)]
        return (
            f"{self.source.name} embeds in the Barron space of {self.target.name} at order "
            f"{self.order} with {rounded_down(self.lower, 6)} <= C <= {rounded_up(self.upper, 6)} "
            f"({' -> '.join(steps)})"
        )


def check(certificate: EmbeddingCertificate) -> Verification:
    """Derive the bound of every edge and the lower bound again."""
    route, total = certificate.route, 1.0
    for edge, following in zip(route, (*route[1:], None), strict=True):
        if following is not None and edge.target != following.source:
            return Verification(False, f"the path breaks at {edge.target.name}")
        if edge.order != certificate.order:
            return Verification(False, "the edges are of different orders")
        found = RULES[edge.rule](edge.source, edge.target, checked_order(edge.order))
        step = f"{edge.source.name} -> {edge.target.name}"
        if found is None:
            return Verification(False, f"the rule {edge.rule!r} proves no edge {step}")
        if not found.upper <= edge.upper < math.inf:
            return Verification(
                False,
                f"the constant of {step} is claimed as {edge.upper!r}; proved: {found.upper!r}",
            )
        if found.theorem != edge.theorem:
            return Verification(False, f"{step} rests on {found.theorem}, not on {edge.theorem}")
        if found.formula != edge.formula:
            return Verification(False, f"the kernel of {step} is {found.formula}")
        total = product_up(total, edge.upper)
    if not total <= certificate.upper < math.inf:
        return Verification(
            False, f"the constant is claimed as {certificate.upper!r}; the product is {total!r}"
        )
    bound = certificate.bound
    if bound is not None:
        same = (bound.source, bound.target, bound.order)
        if same != (certificate.source, certificate.target, certificate.order):
            return Verification(False, "the lower bound is about another pair")
        derive = FUNCTIONALS[bound.functional].derive
        value = derive(bound.source, bound.target, bound.order, bound.spread, bound.offset)
        if not bound.value <= value:
            return Verification(
                False, f"the lower bound is claimed as {bound.value!r}; proved: {value!r}"
            )
    return Verification(True, "every constant was derived again: " + certificate.claim)


def to_json(certificate: EmbeddingCertificate) -> dict[str, Any]:
    """The claim and its numbers as a JSON object, floats as hexadecimal strings."""
    bound = certificate.bound
    return {
        "level": certificate.level,
        "theorem": certificate.theorem,
        "claim": certificate.claim,
        "order": certificate.order,
        "upper": certificate.upper.hex(),
        "route": [
            {
                "source": activation_to_json(edge.source),
                "target": activation_to_json(edge.target),
                "rule": edge.rule,
                "theorem": edge.theorem,
                "formula": edge.formula,
                "upper": edge.upper.hex(),
            }
            for edge in certificate.route
        ],
        "lower": None
        if bound is None
        else {
            "functional": bound.functional,
            "theorem": bound.theorem,
            "spread": bound.spread.hex(),
            "offset": bound.offset.hex(),
            "value": bound.value.hex(),
        },
    }


def from_json(data: dict[str, Any]) -> EmbeddingCertificate:
    """The inverse of :func:`to_json`; KeyError, TypeError or ValueError where it is none."""
    order = checked_order(data["order"])
    if data["level"] not in ("rigorous", "float", "sampled"):
        raise ValueError(f"the level is {data['level']!r}")
    route = tuple(_edge(row, order) for row in data["route"])
    if not route:
        raise ValueError("the path has no edge")
    bound, lower = None, data["lower"]
    if lower is not None:
        if lower["functional"] not in FUNCTIONALS:
            raise ValueError(f"the functional {lower['functional']!r} is not known")
        bound = LowerBound(
            route[0].source,
            route[-1].target,
            order,
            lower["functional"],
            float.fromhex(lower["spread"]),
            float.fromhex(lower["offset"]),
            float.fromhex(lower["value"]),
        )
        if math.isnan(bound.spread) or not math.isfinite(bound.offset):
            raise ValueError("the particle of the lower bound is not one of numbers")
    upper = float.fromhex(data["upper"])
    return EmbeddingCertificate(route, bound, upper, data["level"])


def _edge(row: Any, order: int) -> Edge:
    if row["rule"] not in RULES:
        raise ValueError(f"the rule {row['rule']!r} is not known")
    return Edge(
        activation_from_json(row["source"]),
        activation_from_json(row["target"]),
        order,
        row["rule"],
        float.fromhex(row["upper"]),
        str(row["theorem"]),
        str(row["formula"]),
    )
