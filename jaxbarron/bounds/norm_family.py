"""Norms of many activations and orders s as one JAX function, compiled once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxbarron.activations import Activation, activation
from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_bracket import interval_bracket
from jaxbarron.bounds.interval_edges import activation_breaks, moved_edges, resolving_points
from jaxbarron.bounds.interval_profile import Jets, composed_jets
from jaxbarron.bounds.regularity import jump_orders
from jaxbarron.errors import UsageError
from jaxbarron.norms import Weight

__all__ = ["Norm", "norm_family", "norm_grid"]

_LANES = 16  # of one part: its lanes wait for the slowest of them
_PLANES = 6


class Norm(NamedTuple):
    """``lower <= ||f|| <= upper``, and what all orders have in common of the evidence.

    Attributes:
        lower: infinite where the norm is.
        upper: likewise.
        density: the density part.
        moments: M, padded with zeros to the largest s + 1.
    """

    lower: Float[Array, "..."]
    upper: Float[Array, "..."]
    density: Float[Array, "..."]
    moments: Float[Array, "... k"]


def norm_family(
    sigmas: Sequence[str | Activation],
    orders: Sequence[int],
    *,
    weight: Weight = "homogeneous",
    rel_gap: float = 1e-10,
) -> Callable[[Any, Any, Any, Any], Norm]:
    """The norm of ``y -> sigma_i(w y + b)`` in RePU_s, s = orders[j], of (i, j, w, b) at once.

    Both bounds hold as for :func:`jaxbarron.norm_function` (Theorem Interval norm, Theorem Bounds
    at every iterate), and have the same derivatives in w and b.  jit, grad, and vmap over all four
    arguments.  Under a vmap over i or j every activation or every order is computed for each
    element, as ``jax.lax.switch`` does; :func:`norm_grid` maps them one after the other.

    Args:
        sigmas: activations or their names.
        orders: each 0 to 4.
        weight: see :func:`jaxbarron.weight_values`.
        rel_gap: where the search stops.

    Returns:
        A function of scalars: indices i into ``sigmas`` and j into ``orders``, clamped to them,
        w >= 0 and b, whose dtype the bounds have.

    Raises:
        UsageError: no activation, no order, or an order or a weight that is out of range.

    Example:
        >>> norms = norm_family(("tanh", "softplus"), (1,))
        >>> with jax.enable_x64(True):
        ...     found = jax.jit(jax.vmap(norms, (0, None, None, None)))(jnp.arange(2), 0, 1.0, 0.0)
        ...     [round(float(v), 4) for v in found.upper]
        [1.8433, 1.5351]
    """
    sources = tuple(map(activation, sigmas))
    bodies = tuple(GaugeBody(s, weight) for s in orders)
    if not (sources and bodies):
        raise UsageError(
            f"given: {len(sources)} activations and {len(bodies)} orders; expected: at least one "
            "of each; do: e.g. norm_family(('tanh', 'gelu'), (1, 2))"
        )
    size = max(body.size for body in bodies)
    searches = [_search(sources, body, rel_gap, size) for body in bodies]

    def norms(source: Int[Array, ""], order: Int[Array, ""], w: Any, b: Any) -> Norm:
        dtype = jnp.result_type(float, w, b)
        return jax.lax.switch(order, searches, source, jnp.asarray(w, dtype), jnp.asarray(b, dtype))

    return norms


def norm_grid(
    sigmas: Sequence[str | Activation],
    orders: Sequence[int],
    *,
    weight: Weight = "homogeneous",
    rel_gap: float = 1e-10,
) -> Callable[[Float[Array, "..."], Float[Array, "..."]], Norm]:
    """All norms of :func:`norm_family` as one function of arrays w and b of one shape.

    Returns:
        A function of (w, b) whose fields have the shape ``(len(sigmas), len(orders), *w.shape)``,
        for the moments with one more axis.  Nothing is computed for another activation or order.

    Raises:
        UsageError: as :func:`norm_family`.

    Example:
        >>> norms = jax.jit(norm_grid(("tanh", "softplus"), (1,)))
        >>> with jax.enable_x64(True):
        ...     norms(jnp.ones(3), jnp.zeros(3)).upper.shape
        (2, 1, 3)
    """
    one = norm_family(sigmas, orders, weight=weight, rel_gap=rel_gap)
    count = len(sigmas), len(orders)
    pairs = np.indices(count).reshape(2, -1)

    def norms(w: Any, b: Any) -> Norm:
        w, b = jnp.broadcast_arrays(jnp.asarray(w), jnp.asarray(b))
        lanes = w.reshape(-1), b.reshape(-1)

        def of_pair(pair: Any) -> Norm:
            return jax.lax.map(lambda v: one(pair[0], pair[1], *v), lanes, batch_size=_LANES)

        found = jax.lax.map(of_pair, (jnp.asarray(pairs[0]), jnp.asarray(pairs[1])))
        return jax.tree.map(lambda v: v.reshape(*count, *w.shape, *v.shape[2:]), found)

    return norms


def _search(
    sources: tuple[Activation, ...], body: GaugeBody, rel_gap: float, size: int
) -> Callable[[Any, Any, Any], Norm]:
    """The function of (source, w, b) for one order."""
    s = body.s
    rough = [[place for place, order in jump_orders(f) if order < s] for f in sources]
    breaks = [activation_breaks(f, s) for f in sources]
    if body.weight == "l2" and s % 2:
        breaks = [np.union1d(own, resolving_points()) for own in breaks]
    kinks = any(bool(f.kinks) or f.homogeneity is not None for f in sources)

    def search(source: Any, w: Any, b: Any) -> Norm:
        jets, fixed = (_chosen(sources, s, source, *v) for v in ((w, b), _still(w, b)))
        edges = moved_edges(jnp.asarray(_padded(breaks, 0.0), w.dtype)[source], w, b)
        found = interval_bracket(
            body, jets, edges, kinks=kinks, rel_gap=rel_gap, planes=_PLANES, fixed=fixed
        )
        places = jnp.asarray(_padded(rough, np.inf), w.dtype)[source]
        infinite = jnp.any(jnp.abs(places - b) < w)
        lower, upper = (jnp.where(infinite, jnp.inf, v) for v in (found.lower, found.upper))
        moments = jnp.zeros(size, w.dtype).at[: body.size].set(found.moments)
        return Norm(lower, upper, found.density, moments)

    return search


def _still(w: Any, b: Any) -> Any:
    return jax.lax.stop_gradient((w, b))


def _chosen(sources: tuple[Activation, ...], s: int, source: Any, w: Any, b: Any) -> Jets:
    """The jets of one of the sources, by a traced index."""
    own = [composed_jets(f.fn, s + 1, w, b) for f in sources]

    def jets(points: Any, side: int) -> Any:
        branches = [lambda p, f=f: f(p, side).astype(p.dtype) for f in own]
        return jax.lax.switch(source, branches, points)

    return jets


def _padded(rows: Sequence[Any], value: float) -> np.ndarray:
    """Rows of one length; edges may be repeated, so that 0, which is one, does for padding."""
    length = max(1, *(len(row) for row in rows))
    return np.array([[*row, *[value] * (length - len(row))] for row in rows])
