"""Norms of measures with every weight of the theory, and what may be merged or pruned.

``||mu||_V = sum_i ||a_i|| V(w_i, b_i)`` bounds the Barron norm of the function that mu represents
(THEORY.md, Norm of a measure).
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbarron.activations import Activation, activation
from jaxbarron.domains import Domain
from jaxbarron.errors import ToleranceError, UsageError
from jaxbarron.measures import ParticleMeasure

__all__ = ["Weight", "compact", "merge", "norm", "prune", "weight_values"]

Weight = Literal["homogeneous", "inhomogeneous", "total_variation", "l2", "bias_free"]


def weight_values(
    mu: ParticleMeasure, domain: Domain, weight: Weight = "homogeneous", order: float = 1
) -> Float[Array, " n"]:
    """V(w_i, b_i) for each particle; ``R ||w||_*`` is ``domain.spread``, ``rho`` the reach.

    ========================= =================================================
    ``"homogeneous"``         ``rho**p``: for RePU_p
    ``"inhomogeneous"``       ``(1 + rho)**p``: for every other activation
    ``"total_variation"``     1
    ``"l2"``                  ``(R^2 ||w||_*^2 + b^2)**(p/2)``
    ``"bias_free"``           ``(R ||w||_*)**p``
    ========================= =================================================

    On a box, b is the value of ``w . x + b`` at the centre (``domain.centre_value``).

    Raises:
        UsageError: an unknown weight, or a negative order.

    Example:
        >>> from jaxbarron.domains import Ball
        >>> mu = ParticleMeasure(np.ones((1, 1)), np.array([[3.0, 4.0]]), np.array([1.0]))
        >>> weight_values(mu, Ball(2.0), "homogeneous", 2).tolist()
        [121.0]
    """
    if weight not in get_args(Weight):
        raise UsageError(
            f"given: weight={weight!r}; expected: one of {', '.join(get_args(Weight))}; "
            "do: use the weight of the activation, 'homogeneous' for RePU_p"
        )
    if not order >= 0:
        raise UsageError(f"given: order={order}; expected: a number p >= 0; do: e.g. order=1")
    directions, offsets = jnp.asarray(mu.directions), jnp.asarray(mu.offsets)
    if weight == "total_variation":
        return jnp.ones_like(offsets)
    spread, centre = domain.spread(directions), domain.centre_value(directions, offsets)
    if weight == "homogeneous":
        base = spread + jnp.abs(centre)
    elif weight == "inhomogeneous":
        base = 1 + spread + jnp.abs(centre)
    elif weight == "bias_free":
        base = spread
    else:
        base = _hypotenuse(spread, centre)
    return base if order == 1 else base**order


def _hypotenuse(a: Any, b: Any) -> Any:
    # jnp.hypot has no finite derivative at (0, 0); the subgradient 0 serves there.
    zero = (a == 0) & (b == 0)
    return jnp.where(zero, 0, jnp.hypot(jnp.where(zero, 1, a), b))


def norm(
    mu: ParticleMeasure,
    domain: Domain,
    *,
    weight: Weight = "homogeneous",
    order: float = 1,
    ord: float = 2,
) -> Float[Array, ""]:
    """``||mu||_V = sum_i ||a_i||_ord V(w_i, b_i)``, an upper bound on the Barron norm.

    Args:
        mu: the measure.
        domain: a Ball or a Box.
        weight: which V; see :func:`weight_values`.
        order: p, the power in V.
        ord: which norm of the weights a_i in R^m: 1, 2 or infinity.

    Raises:
        UsageError: an unknown weight or ord.

    Example:
        >>> from jaxbarron.domains import Ball
        >>> mu = ParticleMeasure(np.ones((2, 1)), np.ones((2, 1)), np.zeros(2))
        >>> float(norm(mu, Ball(3.0)))
        6.0
    """
    return jnp.sum(_lengths(mu.weights, ord) * weight_values(mu, domain, weight, order))


def _lengths(weights: Any, ord: float) -> Any:
    weights = jnp.asarray(weights)
    if ord == 1:
        return jnp.sum(jnp.abs(weights), axis=-1)
    if ord == 2:
        squares = jnp.sum(jnp.square(weights), axis=-1)
        return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
    if ord == np.inf:
        return jnp.max(jnp.abs(weights), axis=-1)
    raise UsageError(f"given: ord={ord}; expected: 1, 2 or inf; do: e.g. ord=2")


def merge(mu: ParticleMeasure, *, homogeneity: int | None = None) -> ParticleMeasure:
    """Sum the weights of equal particles, or of parallel ones.

    With ``homogeneity=None`` particles with the same direction and offset become one, whatever
    the activation.  With ``homogeneity=s`` so do particles that differ by a factor lambda > 0,
    whose functions differ by ``lambda**s`` under RePU_s; directions that agree in all but the
    last four bits of their dtype count as parallel.  The function stays the same to rounding.

    The result has n particles again, the merged ones first and then particles of weight 0, so
    that the shape is known under jit; :func:`compact` drops those outside jit.

    Example:
        >>> mu = ParticleMeasure(np.ones((2, 1)), np.array([[1.0], [2.0]]), np.zeros(2))
        >>> compact(merge(mu, homogeneity=1)).weights.tolist()
        [[3.0]]
    """
    mu = jax.tree.map(jnp.asarray, mu)
    particles = jnp.concatenate([mu.directions, mu.offsets[:, None]], axis=1)
    weights = mu.weights
    keys = particles
    if homogeneity is not None:
        length = jnp.max(jnp.abs(particles), axis=1, keepdims=True)
        length = jnp.where(length > 0, length, 1)
        particles = particles / length
        weights = weights * length**homogeneity
        coarse = 16 * jnp.finfo(mu.dtype).eps
        keys = jnp.round(particles / coarse) * coarse
    keys = jax.lax.stop_gradient(keys) + 0.0  # -0.0 becomes 0.0: they are equal
    order = jnp.lexsort(keys.T[::-1])
    keys, particles, weights = keys[order], particles[order], weights[order]
    new = jnp.any(keys[1:] != keys[:-1], axis=1)
    group = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(new.astype(jnp.int32))])
    total = jax.ops.segment_sum(weights, group, num_segments=mu.particles)
    first = jnp.searchsorted(group, jnp.arange(mu.particles))
    used = jnp.arange(mu.particles) <= group[-1]
    kept = jnp.where(used[:, None], particles[jnp.minimum(first, mu.particles - 1)], 0)
    return ParticleMeasure.tree_unflatten(None, (total, kept[:, :-1], kept[:, -1]))


def compact(mu: ParticleMeasure) -> ParticleMeasure:
    """Drop the particles of weight 0 (at least one particle stays); not under jit.

    Raises:
        UsageError: the measure is traced, so that its shape cannot depend on its values.

    Example:
        >>> mu = ParticleMeasure(np.array([[1.0], [0.0]]), np.ones((2, 1)), np.zeros(2))
        >>> compact(mu).particles
        1
    """
    if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(mu)):
        raise UsageError(
            "given: compact under a JAX transformation; expected: known numbers; do: call it "
            "outside jit, or keep the particles of weight 0"
        )
    keep = np.flatnonzero(np.any(np.asarray(mu.weights) != 0, axis=1))
    keep = keep if keep.size else np.zeros(1, np.int64)
    return jax.tree.map(lambda x: x[keep], mu)


def prune(
    mu: ParticleMeasure, sigma: str | Activation, domain: Domain, bound: float
) -> tuple[ParticleMeasure, Float[Array, ""]]:
    """Set weights to 0 as long as the function changes by at most ``bound`` on the domain.

    ``sup_X ||f - f'||_2 <= change <= bound`` with ``change = sum over the dropped particles of
    ||a_i||_2 max_(|z| <= rho_i) |sigma(z)|``, the maximum bounded by the activation's growth.
    The smallest contributions go first, which is the most particles for this bound.

    Returns:
        The measure, still of n particles (:func:`compact` drops those of weight 0), and the
        change, a float-level bound.

    Raises:
        ToleranceError: ``bound`` is negative or not finite.
        UsageError: no growth is known for the activation.

    Example:
        >>> from jaxbarron.domains import Ball
        >>> mu = ParticleMeasure(np.array([[1.0], [1e-6]]), np.ones((2, 1)), np.zeros(2))
        >>> kept, change = prune(mu, "relu", Ball(1.0), bound=1e-3)
        >>> compact(kept).particles
        1
    """
    tau = activation(sigma)
    if not isinstance(bound, jax.core.Tracer) and not (np.isfinite(bound) and bound >= 0):
        raise ToleranceError(
            f"given: a bound of {bound} on the change; expected: a finite number >= 0; "
            "do: e.g. 1e-3"
        )
    if tau.growth is None:
        raise UsageError(
            f"given: the activation {tau.name!r}, whose size is not known; expected: one with a "
            "growth bound; do: give it, dataclasses.replace(activation, growth=Growth(a, b, p))"
        )
    mu = jax.tree.map(jnp.asarray, mu)
    rho = domain.reach(mu.directions, mu.offsets)
    size = tau.growth.constant + tau.growth.factor * rho**tau.growth.order
    contribution = _lengths(mu.weights, 2) * size
    order = jnp.argsort(contribution)
    total = jnp.cumsum(contribution[order])
    drop = jnp.zeros(mu.particles, bool).at[order].set(total <= bound)
    change = jnp.sum(jnp.where(drop, contribution, 0))
    weights = jnp.where(drop[:, None], 0, mu.weights)
    return ParticleMeasure.tree_unflatten(None, (weights, mu.directions, mu.offsets)), change
