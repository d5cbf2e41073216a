"""Upper bounds of the norm on an interval: any split of D between right and left particles."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_profile import Profile

__all__ = ["upper_excess"]


def upper_excess(
    body: GaugeBody,
    profile: Profile,
    shares: Float[Array, " c"],
    x: Float[Array, " n"],
    particles: Float[Array, " n"],
) -> Float[Array, ""]:
    """What an exact representation costs beyond the density part, at least.

    Args:
        body: s and the weight.
        profile: cells and atoms of D.
        shares: v_i in [-1/2, 1/2] for each cell, and for each atom of a profile with kinks: the
            part 1/2 + v sgn(D) of D/s! goes to
            right particles (y - t)_+^s and the rest to left ones; others are clipped.
        x: particles (alpha y + beta)^s, alpha = 1 - |x|, beta = x.
        particles: c_j, their weights.

    Returns:
        ``sum |c_j| price(x_j)``, and the cost of the polynomial that is then still missing, in
        s + 1 fixed particles: true for every argument (Theorem Bounds at every iterate).
    """
    shares = jnp.clip(shares, -0.5, 0.5)
    cells = profile.functionals(body)
    rest: Any = profile.polynomial(body)
    rest = rest - jnp.sum(shares[:, None] * cells, axis=0)
    rest = rest - jnp.sum(particles[:, None] * body.atoms(x), axis=0)
    points, inverse = body.basis
    repair = jnp.sum(jnp.asarray(inverse, rest.dtype) * rest, axis=-1)
    fixed = body.prices(jnp.asarray(points, rest.dtype))
    return jnp.sum(jnp.abs(particles) * body.prices(x)) + jnp.sum(jnp.abs(repair) * fixed)
