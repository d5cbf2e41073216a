"""Inputs near the data whose outputs change most, found by gradient ascent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["ascend"]


def ascend(
    change: Callable[[Any], Any],
    starts: Float[Array, "n ..."],
    radius: float,
    key: Any,
    *,
    restarts: int = 2,
    steps: int = 30,
) -> Float[Array, "n ..."]:
    """The inputs of the largest change that projected sign ascent finds in boxes around them.

    What it finds is a lower bound on the largest change: level ``sampled``.

    Args:
        change: rows of inputs to one change each; differentiable where ascent is to move.
        starts: shape (n, ...), floating.
        radius: the boxes are ``|x - start| <= radius``, number by number.
        key: of the random points in the boxes from which it starts.
        restarts: how many random points for each box, side by side.
        steps: how many steps, each shorter than the last.

    Returns:
        For each start the best point met, of its shape and dtype.

    Example:
        >>> f = lambda x: jnp.sum(x**2, axis=1)
        >>> ascend(f, jnp.ones((1, 2)), 0.5, jax.random.key(0)).tolist()
        [[1.5, 1.5]]
    """
    low, high = starts - radius, starts + radius
    gradient = jax.grad(lambda x: jnp.sum(change(x)))

    def best_of(values: Any, x: Any, best: Any, at: Any) -> tuple[Any, Any]:
        better = values > best
        wide = better.reshape(-1, *(1,) * (x.ndim - 1))
        return jnp.where(better, values, best), jnp.where(wide, x, at)

    def run(key: Any) -> tuple[Any, Any]:
        # not at the centre, where a change that a spline makes may have no slope
        first = starts + radius * jax.random.uniform(key, starts.shape, starts.dtype, -1, 1)

        def step(carry: Any, share: Any) -> tuple[Any, None]:
            x, best, at = carry
            moved = jnp.clip(x + share * 2 * radius * jnp.sign(gradient(x)), low, high)
            return (moved, *best_of(change(moved), moved, best, at)), None

        shares = jnp.geomspace(0.3, 0.003, steps).astype(starts.dtype)
        start = (first, *best_of(change(first), first, change(starts), starts))
        (_, best, at), _ = jax.lax.scan(step, start, shares)
        return best, at

    best, at = jax.jit(jax.vmap(run))(jax.random.split(key, restarts))
    return at[jnp.argmax(best, axis=0), jnp.arange(len(starts))]
