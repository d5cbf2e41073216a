"""Lower bounds of the norm on an interval: any moments M give one."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_profile import Jets, Profile, sample, split
from jaxbarron.bounds.polynomial_roots import polynomial_value, real_roots

__all__ = [
    "Split",
    "constraint_curvature",
    "excess_of",
    "lower_excess",
    "objective_curvature",
    "scaled_excess",
    "split_at_roots",
]


class Split(NamedTuple):
    """A profile with the sign changes of Q_M among its edges; these are padded with 1."""

    profile: Profile
    roots: Float[Array, " s"]


def split_at_roots(
    body: GaugeBody, profile: Profile, jets: Jets, moments: Float[Array, " k"]
) -> Split:
    """Insert the sign changes of Q_M in (-1, 1) into a profile."""
    roots = jax.lax.stop_gradient(real_roots(body.polynomial(moments), -1.0, 1.0))
    return Split(split(profile, sample(jets, roots, kinks=profile.kinks)), roots)


def objective_curvature(
    body: GaugeBody, jets: Jets, moments: Float[Array, " k"], roots: Float[Array, " s"]
) -> Float[Array, "k k"]:
    """``sum over roots r of |D(r)|/s! q(r) q(r)^T / |Q_M'(r)|``.

    It is minus the second derivative of the dual objective.
    """
    polynomial = body.polynomial(moments)
    slope = jnp.abs(polynomial_value(polynomial[1:] * jnp.arange(1, body.s + 1), roots))
    density = jnp.abs(jets(roots, 0)[:, -1]) / math.factorial(body.s)
    inside = (jnp.abs(roots) < 1) & (slope > 0)
    factor = jnp.where(inside, density / jnp.where(inside, slope, 1), 0)
    columns = [c * (-roots) ** (body.s - k) for c, k in zip(body.binomials, body.kept, strict=True)]
    atoms = jnp.stack(columns, axis=-1)
    return (atoms.T * factor) @ atoms


def excess_of(body: GaugeBody, profile: Profile, moments: Float[Array, " k"]) -> Float[Array, ""]:
    """``<B, M> - int |Q_M| d|D| / (2 s!)`` where the profile has the sign changes of Q_M as edges.

    B is the mean of the Taylor polynomials at both ends.  For M in the body, the density part and
    this number together are a lower bound of the norm (Theorem Interval norm).
    """
    cells = profile.functionals(body)
    value = jnp.sum(profile.polynomial(body) * moments)
    return value - jnp.sum(jnp.abs(jnp.sum(cells * moments, axis=-1))) / 2


def scaled_excess(
    body: GaugeBody, profile: Profile, jets: Jets, moments: Float[Array, " k"]
) -> tuple[Any, Any, Any, Any]:
    """The bound of :func:`excess_of` at M scaled into the body, M, and where to look again.

    The extrema of ``|Q_M| / price`` and the sign changes of Q_M, each padded.
    """
    extrema = body.critical(moments)
    gauge = body.gauge_at(moments, extrema)
    scaled = moments / jnp.where(gauge > 0, gauge, 1)
    finer, roots = split_at_roots(body, profile, jets, scaled)
    return excess_of(body, finer, scaled), scaled, extrema, roots


def lower_excess(
    body: GaugeBody, profile: Profile, jets: Jets, moments: Float[Array, " k"]
) -> Float[Array, ""]:
    """What any M, scaled onto the boundary of the body, adds to the density part; M = 0 adds 0.

    It may be negative, and a bound all the same.  Differentiable in what the jets depend on, for
    fixed M, which by the envelope theorem is the derivative of the maximum (Theorem Bounds at every
    iterate).
    """
    fixed = jax.lax.stop_gradient(moments)
    gauge = body.gauge(fixed)
    scaled = fixed / jnp.where(gauge > 0, gauge, 1)
    finer = split_at_roots(body, profile, jets, scaled).profile
    return excess_of(body, finer, scaled)


def constraint_curvature(
    body: GaugeBody, moments: Float[Array, " k"], x: Float[Array, " n"], charges: Any
) -> Float[Array, "k k"]:
    """Second derivatives of ``sum charges * max |Q_M| / price``, the maxima at critical x."""

    def atom(point: Any) -> Any:
        return body.atoms(point[None])[0] / body.prices(point[None])[0]

    def one(point: Any) -> tuple[Any, Any]:
        slope = jax.jacfwd(atom)
        bend = jax.jacfwd(slope)(point)
        value, curve = jnp.sum(atom(point) * moments), jnp.sum(bend * moments)
        return slope(point), jnp.maximum(-jnp.sign(value) * curve, 0)

    slopes, bends = jax.vmap(one)(x)
    used = (bends > 0) & (jnp.abs(x) < 1)  # x = +-1 pads the list of extrema
    factor = jnp.where(used, charges / jnp.where(used, bends, 1), 0)
    return (slopes.T * factor) @ slopes
