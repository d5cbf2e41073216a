"""A kernel and its certificate in one call: which rule of the theory serves which pair."""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import Literal

import numpy as np

from jaxbarron.activations import Activation, Line, activation, registered_activations
from jaxbarron.balls.tails import Line as TailLine
from jaxbarron.balls.tails import asymptote
from jaxbarron.certificates import Certificate, kernel_certificate
from jaxbarron.errors import DomainError, ToleranceError, UnreachableTargetError, UsageError
from jaxbarron.kernels.combinations import combination_kernel
from jaxbarron.kernels.demand import check_demand
from jaxbarron.kernels.rounding import CUBIC_REACH
from jaxbarron.kernels.sharp import sharp_kernel
from jaxbarron.kernels.splines import spline_kernel
from jaxbarron.measures import ParticleMeasure, push_forward, unit_kernel

__all__ = ["certified_kernel"]


def certified_kernel(
    source: str | Activation,
    target: str | Activation,
    *,
    tol: float | None = None,
    particles: int | None = None,
    reach: float | None = None,
    direct: bool = False,
    derivatives: int = 0,
    minimise: Literal["error", "norm"] = "error",
) -> tuple[ParticleMeasure, Certificate]:
    """A kernel that represents one activation by another, and the proof of its error.

    The rule is chosen in this order: the exact finite kernels (linear combinations); for RePU_s,
    s = 1, 2, 3, the spline kernel with optimised knots, from the shipped table where it holds the
    tolerance; for a target that represents ReLU exactly, the spline kernel pushed forward.

    Args:
        source: the activation to represent; any scalar JAX function, as an Activation.
        target: the activation of the particles.
        tol: the largest certified sup-norm error allowed.
        particles: instead of ``tol``: the largest number of particles allowed.
        reach: serve ``|z| <= reach`` only; None: all of R (for RePU_3 kernels with a sloping tail
            ``|z| <= 2**20``, since no floats do better).
        direct: instead of ``tol``: replace one for one, and certify the distance.
        derivatives: certify the errors of the derivatives up to this order too (<= s - 1).
        minimise: ``"error"``: the least error for the particles, or the fewest particles for the
            tolerance.  ``"norm"``: the representation of least norm on a reach in cells
            (:func:`jaxbarron.sharp_kernel`); ``norm(kernel, Ball(reach), order=s)`` is then near
            the least norm of any representation, for more particles or a larger error.

    Returns:
        The kernel, of NumPy doubles, and its certificate of level ``rigorous`` with
        ``certificate.upper <= tol``.

    Raises:
        UsageError: not exactly one of ``tol``, ``particles``, ``direct`` where one is needed.
        ToleranceError: a tolerance <= 0, or one that no kernel of doubles meets.
        UnreachableTargetError: no kernel is known from this source to this target, or, for
            ``minimise="norm"``, the norm of the source is infinite.
        DomainError: a reach that is not a finite number > 0; ``minimise="norm"`` without one.

    Example:
        >>> kernel, certificate = certified_kernel("gelu", "relu", tol=1e-2)
        >>> certificate.upper <= 1e-2, certificate.level
        (True, 'rigorous')
    """
    sigma, tau = activation(source), activation(target)
    _check(tol, particles, reach, direct)
    if minimise == "norm":
        return _least_norm(sigma, tau, tol, particles, reach, direct, derivatives)
    if minimise != "error":
        raise UsageError(
            f"given: minimise={minimise!r}; expected: 'error' or 'norm'; do: leave it out for the "
            "least error"
        )
    return _certified(sigma, tau, tol, particles, reach, direct, derivatives)


def _check(tol: float | None, particles: int | None, reach: float | None, direct: bool) -> None:
    if sum((tol is not None, particles is not None, bool(direct))) > 1:
        raise UsageError(
            "given: more than one of tol, particles and direct; expected: one; do: choose the "
            "error (tol), the size (particles) or the one-for-one replacement (direct)"
        )
    check_demand(tol, particles, reach)


@functools.lru_cache(maxsize=1024)
def _certified(
    sigma: Activation,
    tau: Activation,
    tol: float | None,
    particles: int | None,
    reach: float | None,
    direct: bool,
    derivatives: int,
) -> tuple[ParticleMeasure, Certificate]:
    if direct:
        certificate = kernel_certificate(
            unit_kernel(), sigma, tau, reach=reach, derivatives=derivatives
        )
        return _finished(certificate, tol, particles)
    exact = combination_kernel(sigma, tau, reach=reach)
    if exact is not None and (particles is None or exact.particles <= particles):
        certificate = kernel_certificate(exact, sigma, tau, reach=reach, derivatives=derivatives)
        if math.isfinite(certificate.upper):
            return _finished(certificate, tol, particles)
        if tau.homogeneity is None:
            raise UnreachableTargetError(_needs_reach(sigma, tau))
    if tau.homogeneity in (1, 2, 3):
        return _spline(sigma, tau, tol, particles, reach, derivatives)
    return _through_relu(sigma, tau, tol, particles, reach, derivatives)


def _spline(
    sigma: Activation,
    tau: Activation,
    tol: float | None,
    particles: int | None,
    reach: float | None,
    derivatives: int,
) -> tuple[ParticleMeasure, Certificate]:
    if tol is None and particles is None:
        raise UsageError(
            f"given: neither tol nor particles for {sigma.name} -> {tau.name}; expected: one, "
            "since no exact kernel of finitely many particles serves this pair; do: e.g. tol=1e-3"
        )
    s = tau.homogeneity
    assert s is not None
    left, right = (None, None) if reach is not None else _lines(sigma)
    claimed = reach
    if reach is None and s == 3 and _slopes_upward(left, right):
        # no RePU_3 kernel of floats has a tail of slope 1 (THEORY.md, Theorem No cubic line)
        claimed = CUBIC_REACH
    wanted = tol
    # The optimiser leaves a margin for the certificate; should it ever be too small, it is widened.
    best = math.inf
    for _ in range(4):
        kernel = spline_kernel(
            sigma, s, tol=wanted, particles=particles, reach=reach, left=left, right=right
        )
        certificate = kernel_certificate(kernel, sigma, tau, reach=claimed, derivatives=derivatives)
        if math.isinf(certificate.upper):
            raise UnreachableTargetError(
                f"given: {sigma.name}, for which no finite error is proved on "
                f"{'all of R' if claimed is None else f'|z| <= {claimed}'}; expected: a source "
                "that is bounded there; do: give a reach without a pole of the source"
            )
        if tol is None or certificate.upper <= tol:
            return _finished(certificate, tol, particles)
        assert wanted is not None
        best = min(best, certificate.upper)
        wanted *= 0.97
    raise ToleranceError(
        f"given: tol={tol} for {sigma.name} -> {tau.name}; expected: a tolerance that kernels of "
        f"doubles can hold, the best found is {best:.3g}; do: allow that much"
    )


@functools.lru_cache(maxsize=256)
def _least_norm(
    sigma: Activation,
    tau: Activation,
    tol: float | None,
    particles: int | None,
    reach: float | None,
    direct: bool,
    derivatives: int,
) -> tuple[ParticleMeasure, Certificate]:
    s = tau.homogeneity
    if direct or s not in (1, 2, 3):
        raise UsageError(
            f"given: minimise='norm' for {sigma.name} -> {tau.name}{' with direct' * direct}; "
            "expected: a target RePU_s with s = 1, 2 or 3, and tol or particles; do: e.g. relu"
        )
    if reach is None:
        raise DomainError(
            "given: minimise='norm' without a reach; expected: one, since the least norm is that "
            "of the representations on |z| <= reach; do: give the largest |z| that the kernel must "
            "serve"
        )
    kernel = sharp_kernel(sigma, s, reach, particles=particles, tol=tol)
    certificate = kernel_certificate(kernel, sigma, tau, reach=reach, derivatives=derivatives)
    if tol is not None and certificate.upper > tol:
        # The cells were chosen by an estimate of the error, which is the largest at some points.
        kernel = sharp_kernel(sigma, s, reach, tol=0.95 * tol)
        certificate = kernel_certificate(kernel, sigma, tau, reach=reach, derivatives=derivatives)
    return _finished(certificate, tol, particles)


def _through_relu(
    sigma: Activation,
    tau: Activation,
    tol: float | None,
    particles: int | None,
    reach: float | None,
    derivatives: int,
) -> tuple[ParticleMeasure, Certificate]:
    # sigma -> ReLU -> tau: ReLU's argument z - t_k lies within reach + the largest knot
    relu = activation("relu")
    second = combination_kernel(relu, tau, reach=None if reach is None else 4 * reach)
    if second is None:
        raise UnreachableTargetError(_no_kernel(sigma, tau, reach))
    if tol is None and particles is None:
        raise UsageError(
            f"given: neither tol nor particles for {sigma.name} -> {tau.name}; expected: one; "
            "do: e.g. tol=1e-3"
        )
    first, _ = _certified(
        sigma,
        relu,
        tol,
        None if particles is None else max(1, particles // second.particles),
        reach,
        False,
        0,
    )
    if reach is not None:
        far = float(np.max(np.abs(first.directions[:, 0]) * reach + np.abs(first.offsets)))
        second = combination_kernel(relu, tau, reach=far)
        assert second is not None
    kernel = push_forward(second, first)
    certificate = kernel_certificate(kernel, sigma, tau, reach=reach, derivatives=derivatives)
    if math.isinf(certificate.upper):
        raise UnreachableTargetError(_no_kernel(sigma, tau, reach))
    return _finished(certificate, tol, particles)


def _no_kernel(sigma: Activation, tau: Activation, reach: float | None) -> str:
    if reach is None and combination_kernel("relu", tau, reach=1.0) is not None:
        return _needs_reach(sigma, tau)
    served = [t.name for t in registered_activations() if _represents_relu(t)]
    return (
        f"given: {sigma.name} -> {tau.name}, for which no kernel is known; expected: a target "
        f"among relu, repu(2), repu(3), {', '.join(served)}; do: choose one of those, or the "
        "one-for-one replacement (direct)"
    )


def _needs_reach(sigma: Activation, tau: Activation) -> str:
    return (
        f"given: {sigma.name} -> {tau.name} on all of R; expected: a reach, since the {tau.name} "
        "kernels of floats have tails of another slope; do: give reach=, e.g. reach=100"
    )


def _represents_relu(tau: Activation) -> bool:
    return tau.name != "relu" and combination_kernel("relu", tau, reach=1.0) is not None


def _finished(
    certificate: Certificate, tol: float | None, particles: int | None
) -> tuple[ParticleMeasure, Certificate]:
    kernel = certificate.kernel
    if tol is not None and certificate.upper > tol:
        raise ToleranceError(
            f"given: tol={tol} for {certificate.source.name} -> {certificate.target.name}; "
            f"expected: at least {certificate.upper:.3g}, what doubles can hold here; "
            "do: allow that much"
        )
    if particles is not None and kernel.particles > particles:
        raise ToleranceError(
            f"given: particles={particles} for {certificate.source.name} -> "
            f"{certificate.target.name}; expected: at least {kernel.particles}; "
            "do: allow that many"
        )
    for leaf in (kernel.weights, kernel.directions, kernel.offsets):
        leaf.flags.writeable = False  # the result is cached, and the certificate speaks of it
    return kernel, certificate


def _lines(sigma: Activation) -> tuple[Line | None, Line | None]:
    if sigma.left is not None and sigma.right is not None:
        return sigma.left, sigma.right
    return _proved_line(sigma, "left"), _proved_line(sigma, "right")


def _proved_line(sigma: Activation, side: Literal["left", "right"]) -> Line | None:
    # A rule of the tail calculus may need to start far out; a line is a line from anywhere on.
    # What stays bounded without tending to a line (sin) shows in a remainder that does not shrink.
    previous = None
    for exponent in range(3, 31, 3):
        found = asymptote(sigma.program, side, 2.0**exponent)
        if not isinstance(found, TailLine) or not found.slope.is_exact():
            continue
        slope, bound = float(found.slope), float(found.bound.upper())
        shrinks = bound == 0 or (previous is not None and bound <= previous / 2)
        if shrinks and found.slope == slope:
            return Line(slope, float(found.intercept.mid()))
        previous = bound
    return None


def _slopes_upward(left: Line | None, right: Line | None) -> bool:
    if left is None or right is None:
        return False
    rise = (Fraction(right.slope) - Fraction(left.slope)) / 3
    sloping_left = Fraction(left.slope) / 3
    return any(x.denominator & (x.denominator - 1) for x in (rise, sloping_left))
