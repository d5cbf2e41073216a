"""Both bounds of the norm on an interval by cutting planes: cheap rounds, a few digits.

One linear program a round, on few cells and few particles.  Its solution M shows which sign changes
of Q_M and which extrema of |Q_M| it did not know: these are edges and particles of the next ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_dual import scaled_excess
from jaxbarron.bounds.interval_primal import upper_excess
from jaxbarron.bounds.interval_profile import Jets, Profile, sample, split
from jaxbarron.bounds.interval_program import solve_program

__all__ = ["Planes", "cutting_planes"]

_SHARE = 0.05  # of the gap: what a program may leave
_STALLED = 0.9  # a round that leaves more of the gap than this is the last


class Planes(NamedTuple):
    """The best of both bounds, less the density part, and what proves them.

    Attributes:
        lower: at ``moments``.
        upper: of the representation that the other fields give.
        moments: M, scaled into the body.
        edges: the ends of the cells, padded with 1.
        shares: v for the cells, and for the atoms.
        nodes: x of the particles, padded with 0.
        particles: their weights.
    """

    lower: Float[Array, ""]
    upper: Float[Array, ""]
    moments: Float[Array, " k"]
    edges: Float[Array, " e"]
    shares: Float[Array, " c"]
    nodes: Float[Array, " n"]
    particles: Float[Array, " n"]

    def padded(self, edges: int, nodes: int) -> Planes:
        """With so many edges and nodes: cells at 1 of no length, particles of weight 0."""
        more, cells = edges - self.edges.size, self.edges.size - 1
        parts = [jnp.pad(self.shares[:cells], (0, more))]
        if self.shares.size > cells:  # atoms follow
            parts.append(jnp.pad(self.shares[cells:], (0, more)))
        rest = nodes - self.nodes.size
        return self._replace(
            edges=jnp.pad(self.edges, (0, more), constant_values=1),
            shares=jnp.concatenate(parts),
            nodes=jnp.pad(self.nodes, (0, rest)),
            particles=jnp.pad(self.particles, (0, rest)),
        )


class _State(NamedTuple):
    best: Planes
    extrema: Any  # (rounds, m)
    roots: Any  # (rounds, s)
    count: Any
    stalled: Any


def cutting_planes(
    body: GaugeBody, profile: Profile, jets: Jets, density: Any, tolerance: Any, rounds: int
) -> Planes:
    """At most so many rounds, until ``upper - lower <= tolerance * (density + lower)``.

    Both bounds are true whatever the programs return (Theorem Bounds at every iterate).
    """
    dtype = profile.edges.dtype
    linear = profile.polynomial(body)
    base = jnp.asarray(body.few_nodes, dtype)
    scale = jnp.sum(jnp.abs(linear)) + jnp.sum(profile.masses()[0][:, 0])
    scale = jnp.where(scale > 0, scale, 1)

    def gap(best: Planes) -> Any:
        return best.upper - jnp.maximum(best.lower, 0)

    def round_of(state: _State) -> _State:
        best = state.best
        learnt = sample(jets, jnp.sort(state.roots.reshape(-1)), kinks=profile.kinks)
        finer = split(profile, learnt)
        nodes = jnp.concatenate([base, state.extrema.reshape(-1)])
        solved = solve_program(
            linear / scale,
            None,
            body.atoms(nodes),
            body.prices(nodes),
            finer.functionals(body) / scale,
            _SHARE * tolerance,
        )
        particles = solved.particles * scale
        upper = upper_excess(body, finer, solved.shares, nodes, particles)
        lower, moments, extrema, roots = scaled_excess(body, profile, jets, solved.moments)
        higher, closer = lower > best.lower, upper < best.upper
        proof = jax.tree.map(
            lambda a, b: jnp.where(closer, a, b),
            (upper, finer.edges, solved.shares, nodes, particles),
            (best.upper, best.edges, best.shares, best.nodes, best.particles),
        )
        new = Planes(
            jnp.where(higher, lower, best.lower),
            proof[0],
            jnp.where(higher, moments, best.moments),
            *proof[1:],
        )
        return _State(
            new,
            state.extrema.at[state.count].set(extrema),
            state.roots.at[state.count].set(roots),
            state.count + 1,
            gap(new) > _STALLED * gap(best),
        )

    def going(state: _State) -> Any:
        best = state.best
        is_open = gap(best) > tolerance * (density + jnp.maximum(best.lower, 0))
        return (state.count < rounds) & is_open & ~state.stalled

    extrema = jnp.full((rounds, body.critical(jnp.zeros_like(linear)).shape[0]), 0.5, dtype)
    roots = jnp.ones((rounds, body.s), dtype)
    edges = jnp.ones(profile.edges.size + roots.size, dtype)
    shares = jnp.zeros(2 * edges.size - 1 if profile.kinks else edges.size - 1, dtype)
    nodes = jnp.zeros(base.size + extrema.size, dtype)
    infinite = jnp.asarray(jnp.inf, dtype)
    best = Planes(-infinite, infinite, jnp.zeros_like(linear), edges, shares, nodes, nodes)
    if not rounds:
        return best
    start = _State(best, extrema, roots, jnp.zeros((), jnp.int32), jnp.asarray(False))
    return jax.lax.while_loop(going, round_of, start).best
