"""A function on [-1, 1] as the interval theorem sees it: signed cells of its (s+1)-th derivative.

With D = f^(s+1) the integral of t^k D over a cell without a sign change, k <= s, is a difference of
values of f, ..., f^(s) (THEORY.md, Theorem Antiderivative).  So edges and the derivatives on both
sides of each hold all that the norm depends on, and no quadrature is involved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbarron.bounds.gauge_body import GaugeBody

__all__ = ["Jets", "Profile", "composed_jets", "density_cost", "derivatives", "sample", "split"]

# (points, side) -> f, f', ..., f^(s+1) on a new last axis; side -1 or 1 asks for the limit from the
# left or the right at a kink, 0 for no limit.
Jets = Callable[[Any, int], Any]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_JOINED = 1024  # units of rounding: edges with kinks that are closer are one
_BESIDE = 4  # units of rounding of the argument by which a limit keeps away from a kink


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Profile:
    """Edges in [-1, 1], and f, ..., f^(s) at each, from the left and from the right.

    Attributes:
        edges: shape (e,), ascending, from -1 to 1; D changes its sign, and has its atoms, at edges
            only.
        before: shape (e, s + 1), the limits from the left.
        after: shape (e, s + 1), the limits from the right.
        kinks: whether D has atoms; without, both limits are the same.
    """

    edges: Float[Array, " e"]
    before: Float[Array, "e n"]
    after: Float[Array, "e n"]
    kinks: bool = field(metadata={"static": True})

    def masses(self) -> tuple[Float[Array, "c n"], Float[Array, " c"]]:
        """``int t^k d|D| / s!``, k = 0, ..., s, and D's sign, over the e - 1 cells.

        With kinks the e atoms follow.  The end points carry none: no particle sees one there.
        """
        order = self.before.shape[-1] - 1
        start = _antiderivatives(self.edges, self.after)[:-1]
        end = _antiderivatives(self.edges, self.before)[1:]
        signed = end - start
        if self.kinks:
            # Edges that rounding cannot tell apart may lie on either side of one kink: they are
            # one edge, with the jump from the first to the last of them.
            wide = self.edges[1:] - self.edges[:-1] > _JOINED * jnp.finfo(self.edges.dtype).eps
            index = jnp.arange(self.edges.shape[0])
            first = jax.lax.cummax(jnp.where(jnp.pad(wide, (1, 0), constant_values=True), index, 0))
            inner = jnp.pad(wide, (0, 1), constant_values=False) & (first > 0)
            jump = jnp.where(inner, self.after[:, order] - self.before[first, order], 0)
            atoms = jnp.stack([jump * self.edges**k for k in range(order + 1)], axis=-1)
            signed = jnp.concatenate([jnp.where(wide[:, None], signed, 0), atoms])
        signed = signed / math.factorial(order)
        sign = jnp.sign(signed[:, 0])
        return sign[:, None] * signed, sign

    def functionals(self, body: GaugeBody) -> Float[Array, "c k"]:
        """``a_i`` with ``<a_i, M> = int over the i-th cell of Q_M d|D| / s!``."""
        masses, s = self.masses()[0], body.s
        columns = [
            c * (-1) ** (s - k) * masses[:, s - k]
            for c, k in zip(body.binomials, body.kept, strict=True)
        ]
        return jnp.stack(columns, axis=-1)

    def polynomial(self, body: GaugeBody) -> Float[Array, " k"]:
        """The mean of the Taylor polynomials of degree s at both ends, as a functional of M."""
        total = jnp.zeros(body.s + 1, self.edges.dtype)
        for end, jet in ((-1.0, self.after[0]), (1.0, self.before[-1])):
            for k in range(body.s + 1):
                for i in range(k + 1):
                    factor = math.comb(k, i) * (-end) ** (k - i) / math.factorial(k)
                    total = total.at[i].add(factor * jet[k] / 2)
        return total[jnp.array(body.kept)]


def _antiderivatives(points: Any, jets: Any) -> Any:
    """``sum_j (-1)^j (t^k)^(j) f^(s-j)``, whose derivative is t^k D, for k = 0, ..., s."""
    order = jets.shape[-1] - 1
    columns = [
        sum(
            (-1) ** j * math.perm(k, j) * points ** (k - j) * jets[:, order - j]
            for j in range(k + 1)
        )
        for k in range(order + 1)
    ]
    return jnp.stack(columns, axis=-1)


def derivatives(fn: Callable[[Any], Any], order: int) -> Callable[[Any], Any]:
    """The function z -> (fn(z), fn'(z), ..., fn^(order)(z)) for a scalar z.

    Example:
        >>> [float(v) for v in derivatives(lambda z: z**3, 3)(2.0)]
        [8.0, 12.0, 12.0, 6.0]
    """
    if order == 0:
        return lambda z: (fn(z),)
    lower = derivatives(fn, order - 1)

    def extended(z: Any) -> Any:
        z = jnp.asarray(z)
        values, slopes = jax.jvp(lower, (z,), (jnp.ones_like(z),))
        return (*values, slopes[-1])

    return extended


def composed_jets(
    fn: Callable[[Any], Any], order: int, spreads: Any, offsets: Any, weights: Any = 1.0
) -> Jets:
    """The jets of ``f(y) = sum_i weights_i fn(spreads_i * y + offsets_i)`` up to this order.

    Example:
        >>> jets = composed_jets(jnp.square, 2, 3.0, 1.0)
        >>> jets(jnp.array([1.0]), 0).tolist()
        [[16.0, 24.0, 18.0]]
    """
    all_orders = derivatives(fn, order)
    spreads, offsets, weights = jnp.broadcast_arrays(
        *map(jnp.atleast_1d, (spreads, offsets, weights))
    )

    def jets(points: Any, side: int) -> Any:
        z = points[..., None] * spreads + offsets
        if side:
            away = _BESIDE * jnp.finfo(z.dtype).eps * (jnp.abs(spreads) + jnp.abs(offsets))
            z = z + side * jnp.sign(spreads) * away
        values = jax.vmap(all_orders)(z.reshape(-1))
        powers = [
            jnp.sum(weights * v.reshape(z.shape) * spreads**k, axis=-1)
            for k, v in enumerate(values)
        ]
        return jnp.stack(powers, axis=-1)

    return jets


def sample(jets: Jets, edges: Float[Array, " e"], *, kinks: bool) -> Profile:
    """The profile at sorted edges; without kinks the limits from both sides are the values."""
    if not kinks:
        values = jets(edges, 0)[..., :-1]
        return Profile(edges, values, values, kinks)
    return Profile(edges, jets(edges, -1)[..., :-1], jets(edges, 1)[..., :-1], kinks)


def split(profile: Profile, finer: Profile) -> Profile:
    """The profile with the edges of both."""
    order = jnp.argsort(jnp.concatenate([profile.edges, finer.edges]))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b])[order], profile, finer)


def density_cost(
    body: GaugeBody, profile: Profile, jets: Jets, smooth: Any = None
) -> Float[Array, ""]:
    """``1/s! int V d|D|`` over (-1, 1), V(t) the weight of (y - t)_+^s; 0 must be an edge.

    A finite sum where V is a polynomial on both sides of 0; for the l2 weight and odd s the part
    without atoms is ``smooth``, where it is known, or by 16 Gauss points in each cell.
    """
    masses, _ = profile.masses()
    s = body.s
    if body.weight == "l2" and s % 2:
        if smooth is None:
            smooth = _by_quadrature(body, profile, jets)
        if not profile.kinks:
            return smooth
        atoms = masses[profile.edges.shape[0] - 1 :, 0]
        return smooth + jnp.sum(atoms * (1 + profile.edges**2) ** (s / 2))
    middle = (profile.edges[1:] + profile.edges[:-1]) / 2
    if profile.kinks:
        middle = jnp.concatenate([middle, profile.edges])
    if body.weight == "bias_free":
        return jnp.sum(masses[:, 0])
    if body.weight == "l2":
        return jnp.sum(sum(math.comb(s // 2, j) * masses[:, 2 * j] for j in range(s // 2 + 1)))
    side = jnp.where(middle < 0, -1, 1)
    return jnp.sum(sum(math.comb(s, j) * side**j * masses[:, j] for j in range(s + 1)))


def _by_quadrature(body: GaugeBody, profile: Profile, jets: Jets) -> Any:
    left, right = profile.edges[:-1, None], profile.edges[1:, None]
    nodes = jnp.asarray(_NODES, left.dtype)
    t = (left + right) / 2 + (right - left) / 2 * nodes
    density = jnp.abs(jets(t, 0)[..., body.s + 1]) / math.factorial(body.s)
    factors = jnp.asarray(_WEIGHTS, left.dtype) * (right - left) / 2
    return jnp.sum(factors * density * (1 + t**2) ** (body.s / 2))
