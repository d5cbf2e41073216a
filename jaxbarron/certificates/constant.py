"""The certificate of a constant: an enclosure that the closed forms give again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from jaxbarron.activations import Activation, activation
from jaxbarron.balls.notation import all_digits
from jaxbarron.bounds.constants import Constant, taylor_constant, variation_constant
from jaxbarron.certificates.files import (
    Level,
    Verification,
    activation_from_json,
    activation_to_json,
)
from jaxbarron.errors import UsageError

__all__ = ["ConstantCertificate", "check", "constant_certificate", "from_json", "to_json"]

Kind = Literal["taylor", "variation"]


@dataclass(frozen=True)
class ConstantCertificate:
    """``lower <= T_s(sigma) <= upper``, or the same for ``A_s(sigma) = TV(sigma^(s))/s!``.

    Attributes:
        source: sigma.
        kind: ``"taylor"`` (T_s; with a reach the local cost) or ``"variation"`` (A_s).
        s: the power of RePU_s.
        reach: rho, None for T_s on every reach.
        lower: the lower bound; inf where the constant is proved to be infinite.
        upper: the upper bound.
        theorem: the theorem of THEORY.md.
    """

    source: Activation
    kind: Kind
    s: int
    reach: float | None
    lower: float
    upper: float
    theorem: str
    level: Level = "rigorous"

    @property
    def claim(self) -> str:
        """The claim as a sentence."""
        name = "T" if self.kind == "taylor" else "A"
        where = "" if self.reach is None else f" on |z| <= {all_digits(self.reach)}"
        middle = f"{name}_{self.s}({self.source.name}){where}"
        if math.isinf(self.lower):
            return f"{middle} is infinite"
        return f"{self.lower!r} <= {middle} <= {self.upper!r}"


def constant_certificate(
    source: str | Activation | Callable[[Any], Any],
    s: int,
    *,
    kind: Kind = "taylor",
    reach: float | None = None,
) -> ConstantCertificate:
    """The certificate of :func:`jaxbarron.taylor_constant` or `jaxbarron.variation_constant`.

    Args:
        source: sigma.
        s: the power of RePU_s.
        kind: ``"taylor"`` or ``"variation"``.
        reach: as in :func:`jaxbarron.taylor_constant`; None with ``kind="variation"``.

    Raises:
        UsageError: a reach with ``kind="variation"``, s out of range, or an unknown kind.

    Example:
        >>> constant_certificate("relu", 1).claim
        '1.0 <= T_1(relu) <= 1.0'
    """
    sigma = activation(source)
    found = _derived(sigma, kind, s, reach)
    return ConstantCertificate(sigma, kind, s, reach, found.lower, found.upper, found.theorem)


def _derived(sigma: Activation, kind: str, s: int, reach: float | None) -> Constant:
    if kind == "taylor":
        return taylor_constant(sigma, s, reach=reach)
    if kind != "variation" or reach is not None:
        raise UsageError(
            f"given: kind={kind!r} with reach={reach}; expected: 'taylor', or 'variation' without "
            "a reach; do: leave the reach out"
        )
    return variation_constant(sigma, s)


def check(certificate: ConstantCertificate) -> Verification:
    """Enclose the constant again; the new enclosure must lie within the claimed one."""
    found = _derived(certificate.source, certificate.kind, certificate.s, certificate.reach)
    if not certificate.lower <= found.lower or not found.upper <= certificate.upper:
        return Verification(
            False,
            f"claimed: [{certificate.lower!r}, {certificate.upper!r}]; "
            f"proved: [{found.lower!r}, {found.upper!r}]",
        )
    if certificate.theorem != found.theorem:
        return Verification(False, f"it rests on {found.theorem}, not on {certificate.theorem}")
    return Verification(True, "derived again: " + certificate.claim)


def to_json(certificate: ConstantCertificate) -> dict[str, Any]:
    """The claim as a JSON object, floats as hexadecimal strings."""
    reach = certificate.reach
    return {
        "level": certificate.level,
        "theorem": certificate.theorem,
        "claim": certificate.claim,
        "source": activation_to_json(certificate.source),
        "constant": certificate.kind,
        "s": certificate.s,
        "reach": None if reach is None else float(reach).hex(),
        "lower": certificate.lower.hex(),
        "upper": certificate.upper.hex(),
    }


def from_json(data: dict[str, Any]) -> ConstantCertificate:
    """The inverse of :func:`to_json`; KeyError, TypeError or ValueError where it is none."""
    if data["constant"] not in ("taylor", "variation"):
        raise ValueError(f"the constant is of the unknown kind {data['constant']!r}")
    if data["level"] not in ("rigorous", "float", "sampled"):
        raise ValueError(f"the level is {data['level']!r}")
    if not isinstance(data["s"], int) or isinstance(data["s"], bool):
        raise ValueError(f"s is {data['s']!r}, not a whole number")
    reach = data["reach"]
    return ConstantCertificate(
        activation_from_json(data["source"]),
        data["constant"],
        data["s"],
        None if reach is None else float.fromhex(reach),
        float.fromhex(data["lower"]),
        float.fromhex(data["upper"]),
        str(data["theorem"]),
        data["level"],
    )
