"""A network of one variable transported to RePU_s at least norm, before beside after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.activations import Activation, Kink, activation
from jaxbarron.certificates import Certificate, kernel_certificate
from jaxbarron.domains import Ball
from jaxbarron.errors import DomainError, UnreachableTargetError
from jaxbarron.kernels import sharp_kernel, taylor_kernel
from jaxbarron.measures import ParticleMeasure, push_forward
from jaxbarron.norms import norm
from jaxbarron.tighten.run import Progress, TightenResult, tighten

__all__ = ["Transport", "transport"]

_NODES = 64  # of the quadrature of the kernel pushed forward


@dataclass(frozen=True, eq=False)
class Transport:
    """One function as RePU_s particles, as they come and at least norm.

    Attributes:
        start: the push-forward of mu by the Taylor kernel on the reach of its particles.
        measure: the transported measure: cells of the representation of least norm.
        before: ``norm(start, Ball(radius), order=s)``.
        after: the same of ``measure``.
        bracket: of the norm of the function itself: ``bracket.lower <= after`` up to rounding.
        certificate: of ``measure`` as a kernel of the network's function: its error on the
            interval, of level ``rigorous``.
    """

    start: ParticleMeasure
    measure: ParticleMeasure
    before: float
    after: float
    bracket: TightenResult
    certificate: Certificate


def transport(
    mu: ParticleMeasure,
    sigma: str | Activation,
    target: str | Activation,
    *,
    radius: float = 1.0,
    particles: int = 64,
    rel_gap: float = 1e-9,
    steps: int = 1000,
    key: Any = None,
    progress: Progress = lambda step: None,
) -> Transport:
    """Represent the function of a network of one variable by RePU_s at the least norm there is.

    Pushing mu forward by a kernel pays for every particle alone.  All exact representations of the
    sum are a larger family (THEORY.md, Theorem Taylor kernel), in which parts of different
    particles cancel; :func:`jaxbarron.tighten` brackets the least norm in it, and the cells of
    Theorem Sharp kernel make it a measure with a certified error.

    Args:
        mu: one input, one output, s + 1 times differentiable but for jumps of order s.
        sigma: the activation of its particles.
        target: RePU_s, s = 1, 2 or 3.
        radius: the domain is |x| <= radius.
        particles: the most particles of ``measure``.
        rel_gap: of the bracket.
        steps: of the optimiser.
        key: see :func:`jaxbarron.tighten`.
        progress: the same.

    Raises:
        DomainError: the radius is not a finite number > 0, or every particle is constant.
        UnreachableTargetError: the target is no RePU_s, s = 1, 2 or 3, or the function is too
            rough.
        ShapeError: several inputs or outputs.

    Example:
        >>> two = np.array([[1.0], [-0.9]]), np.array([[1.0], [1.1]]), np.array([0.0, 0.1])
        >>> found = transport(ParticleMeasure(*two), "tanh", "relu")
        >>> found.bracket.lower <= found.after < found.before / 2
        True
    """
    base, tau = activation(sigma), activation(target)
    s = tau.homogeneity
    if s not in (1, 2, 3):
        raise UnreachableTargetError(
            f"given: the target {tau.name}; expected: RePU_s with s = 1, 2 or 3; do: e.g. relu"
        )
    domain = Ball(radius)
    bracket = tighten(
        ParticleMeasure(mu.weights, np.asarray(mu.directions) * radius, mu.offsets),
        tau, sigma=base, rel_gap=rel_gap, steps=steps, key=key, progress=progress,
    )  # fmt: skip
    if bracket.reason:
        raise UnreachableTargetError(
            f"given: a network of {base.name} into {tau.name}: {bracket.reason}; expected: a "
            "function whose norm is finite; do: lower s"
        )
    wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), mu)
    reach = float(np.max(radius * np.abs(wide.directions[:, 0]) + np.abs(wide.offsets)))
    if reach == 0:
        raise DomainError(
            "given: particles that are all sigma(0); expected: a function that moves; do: it is a "
            "constant, one particle"
        )
    with jax.enable_x64(True):
        first = push_forward(taylor_kernel(base, s, reach, nodes=_NODES), wide)
        network = _as_activation(wide, base)
        measure = sharp_kernel(network, s, radius, particles=particles)
        before, after = (float(norm(nu, domain, order=s)) for nu in (first, measure))
    certificate = kernel_certificate(measure, network, tau, reach=radius)
    return Transport(first, measure, before, after, bracket, certificate)


def _as_activation(mu: ParticleMeasure, sigma: Activation) -> Activation:
    """The network as a function of one variable, its kinks declared."""
    a, w, b = (np.asarray(v).reshape(-1) for v in (mu.weights, mu.directions, mu.offsets))
    used = (w != 0) & (a != 0)
    kinks: dict[float, np.ndarray] = {}
    for c, u, v in zip(a[used], w[used], b[used], strict=True):
        for kink in sigma.kinks:
            # the jump of the j-th derivative turns with u^j, and with its side
            jumps = np.sign(u) * c * np.array(kink.jumps) * u ** np.arange(4)
            place = float((kink.location - v) / u)
            kinks[place] = kinks.get(place, np.zeros(4)) + jumps

    def function(z: Any) -> Any:
        terms = (
            float(c) * sigma.fn(float(u) * z + float(v)) for c, u, v in zip(a, w, b, strict=True)
        )
        return sum(terms, 0 * jnp.asarray(z))

    found = tuple(Kink(t, tuple(float(x) for x in kinks[t])) for t in sorted(kinks))  # pyright: ignore[reportArgumentType]
    return Activation("network", function, family="network", kinks=found)
