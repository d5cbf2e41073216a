"""The certificate of a kernel: its sup-norm error, on a reach or on all of R."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import flint
import numpy as np

from jaxbarron.activations import Activation, activation
from jaxbarron.balls.notation import rounded_up
from jaxbarron.balls.series import local_series, working_precision
from jaxbarron.bounds.kernel_error import KernelError, kernel_error
from jaxbarron.certificates.files import (
    Level,
    Verification,
    activation_from_json,
    activation_to_json,
)
from jaxbarron.errors import UsageError
from jaxbarron.measures import ParticleMeasure, check_kernel

__all__ = ["Certificate", "ErrorBound", "check", "from_json", "kernel_certificate", "to_json"]

_BITS = 192
_NEAR = 2.0**-20  # times 1 + |where|, 2^10 at most: how close to it an error is looked for
_SHARE = 0.99  # and what part of ``lower`` it has to reach there


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
        """The domain of the claim in words, with the reach exactly."""
        if math.isinf(self.reach):
            return "all of R"
        share, exponent = math.frexp(self.reach)
        power = share == 0.5 and exponent > 10
        return f"|z| <= 2^{exponent - 1}" if power else f"|z| <= {self.reach:.17g}"

    @property
    def claim(self) -> str:
        """The claim as a sentence."""
        count = self.kernel.particles
        of = "" if count == 1 else f" of {count} particles"
        sentence = (
            f"On {self.where_it_holds}, {self.source.name} and its {self.target.name} kernel{of} "
            f"differ by at most {rounded_up(self.upper, 6)}"
        )
        for error in self.errors[1:]:
            sentence += (
                f", their derivatives of order {error.derivative} by {rounded_up(error.upper, 6)}"
            )
        return sentence + "."


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
            f"given: derivatives={derivatives} for the target {tau.name}; expected: from 0 to "
            "the order to which it is continuously differentiable; do: for RePU_s at most s - 1"
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


def check(certificate: Certificate) -> Verification:
    """Derive every bound again, from the numbers alone."""
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
        if not _is_attained(certificate, claimed, found.where):
            return Verification(
                False,
                f"the error of derivative {j} near z = {claimed.where:.9g} is not the claimed "
                f"{claimed.lower:.9g}",
            )
    return Verification(True, "every bound was derived again: " + certificate.claim)


def _is_attained(certificate: Certificate, claimed: ErrorBound, found: float) -> bool:
    """Whether the error may be 0.99 of ``lower`` close to ``where``.

    It is enclosed over that ball: a place where it is smaller throughout is found out.  A limit
    must be the one that was found again.
    """
    if claimed.where == found or claimed.lower <= 0:
        return not math.isnan(claimed.where) or math.isnan(found)
    if not (math.isfinite(claimed.where) and abs(claimed.where) <= certificate.reach):
        return False
    size = 1 + abs(claimed.where)
    with working_precision(_BITS + 3 * math.frexp(size)[1], claimed.derivative + 3):
        point = flint.arb(claimed.where)
        near = _NEAR * min(size, 1024.0)
        value = _error_at(certificate, point, claimed.derivative)
        slope = _error_at(certificate, flint.arb(claimed.where, near), claimed.derivative + 1)
        return not abs(value) + near * abs(slope) < flint.arb(_SHARE) * claimed.lower


def _error_at(certificate: Certificate, ball: Any, order: int) -> Any:
    """The error's derivative on a ball; far out its terms cancel."""
    total, kernel = _derivative(certificate.source, ball, order), certificate.kernel
    rows = zip(kernel.weights[:, 0], kernel.directions[:, 0], kernel.offsets, strict=True)
    for c, alpha, beta in (tuple(map(float, row)) for row in rows):
        factor = flint.arb(c) * flint.arb(alpha) ** order
        total -= factor * _derivative(certificate.target, alpha * ball + beta, order)
    return total


def _derivative(sigma: Activation, ball: Any, order: int) -> Any:
    found = local_series(sigma.program, flint.arb_series([ball, 1], prec=order + 2), ball)
    return found.coefficients[order] * math.factorial(order)


def to_json(certificate: Certificate) -> dict[str, Any]:
    """The claim and its numbers as a JSON object, floats as hexadecimal strings."""
    kernel = certificate.kernel
    return {
        "level": certificate.level,
        "theorem": certificate.theorem,
        "claim": certificate.claim,
        "source": activation_to_json(certificate.source),
        "target": activation_to_json(certificate.target),
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


def from_json(data: dict[str, Any]) -> Certificate:
    """The inverse of :func:`to_json`; KeyError, TypeError or ValueError where it is none."""
    numbers = data["kernel"]
    weights, directions, offsets = (
        np.array([float.fromhex(x) for x in numbers[name]])
        for name in ("weights", "directions", "offsets")
    )
    kernel = ParticleMeasure(weights[:, None], directions[:, None], offsets)
    errors = tuple(
        ErrorBound(
            error["derivative"],
            float.fromhex(error["lower"]),
            float.fromhex(error["upper"]),
            float.fromhex(error["where"]),
        )
        for error in data["errors"]
    )
    reach = float.fromhex(data["reach"])
    if not all(type(error.derivative) is int for error in errors):
        raise ValueError("the order of a derivative is no whole number")
    if not errors or not reach > 0 or data["level"] not in ("rigorous", "float", "sampled"):
        raise ValueError("a bound, the reach or the level is missing or out of range")
    return Certificate(
        activation_from_json(data["source"]),
        activation_from_json(data["target"]),
        kernel,
        reach,
        errors,
        data["level"],
    )
