"""Both bounds of the norm on an interval driven together, as one pure JAX function.

Each round solves two small convex programs from the best M so far.  One, over cells and nodes, is
linear and its dual solution is a representation; in the other the cells near the sign changes of
Q_M are replaced by their curvature: Newton's method, globalised by the first.  The next round has
edges at the sign changes and nodes at the extrema that these programs did not know.  Whatever they
do, both bounds stay true, and the best of each is kept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_dual import (
    constraint_curvature,
    lower_excess,
    objective_curvature,
    scaled_excess,
)
from jaxbarron.bounds.interval_planes import cutting_planes
from jaxbarron.bounds.interval_primal import upper_excess
from jaxbarron.bounds.interval_profile import Jets, Profile, density_cost, sample, split
from jaxbarron.bounds.interval_program import solve_program
from jaxbarron.bounds.polynomial_roots import real_roots

__all__ = ["IntervalBracket", "interval_bracket"]

_ROUNDS = 16
_PARTS = (0.5, 0.2, 0.05)  # of Newton's step that are tried too
_OFFSETS = (0.0, *(sign * 0.03 * 20.0**-k for k in range(5) for sign in (-1, 1)))
_REMEMBERED = 3  # rounds whose cutting planes are kept
_SHARE = 0.01  # of the gap: what the programs may leave
_LOOSE = 4  # factor on the limits next to an extremum whose curvature is in the program
_REL_GAP = 1e-10
_CLOSED = 256  # units of rounding of the norm: no smaller gap is asked for
_CLEAR = 1 / 16  # cells closer to a root of Q_M than this are left to the curvature
_CHARGED = 1e-9  # of the dual mass: from here on an extremum is taken to bind
_NEAR = 0.1  # how far in x a particle may lie from the extremum that it is charged to


class IntervalBracket(NamedTuple):
    """Bounds of the norm and what proves them; fields of arrays under vmap.

    Attributes:
        lower: the density part and the excess at ``moments``.
        upper: the density part and the cost of the polynomial that ``shares`` leave.
        density: the density part alone.
        moments: M, on the boundary of the body, or 0.
        edges: the ends of the cells, shape (e,).
        shares: v for the e - 1 cells and the e atoms.
        nodes: x of the particles.
        particles: their weights c.
    """

    lower: Float[Array, ""]
    upper: Float[Array, ""]
    density: Float[Array, ""]
    moments: Float[Array, " k"]
    edges: Float[Array, " e"]
    shares: Float[Array, " c"]
    nodes: Float[Array, " n"]
    particles: Float[Array, " n"]


def interval_bracket(
    body: GaugeBody,
    jets: Jets,
    edges: Float[Array, " e"],
    *,
    kinks: bool,
    rel_gap: Any = _REL_GAP,
    rounds: int = _ROUNDS,
    planes: int = 0,
    fixed: Jets | None = None,
    smooth: Any = None,
) -> IntervalBracket:
    """The norm of a function on [-1, 1] in RePU_s, between two bounds.

    ``lower <= ||f|| <= upper`` to rounding, if D = f^(s+1) has no sign change inside a cell
    (Theorem Interval norm, Theorem Bounds at every iterate).  Works under jit and vmap, and is
    differentiable in what the jets depend on: both bounds have the derivative of the lower one at
    fixed M.

    Args:
        body: s and the weight.
        jets: f and its derivatives up to order s + 1; see :data:`~.interval_profile.Jets`.
        edges: ascending from -1 to 1, with 0, with each sign change of D and each kink.
        kinks: whether f has kinks at edges.
        rel_gap: stop at this gap, relative to the norm; no less than 256 units of rounding.
        rounds: at most so many steps of Newton's method, and cutting planes.
        planes: at most so many cheap rounds of cutting planes before them.
        fixed: the same jets of parameters under ``stop_gradient``; the search, which needs no
            derivatives, is then compiled without them.
        smooth: see :func:`~.interval_profile.density_cost`.
    """
    profile = sample(jets, edges, kinks=kinks)
    density = density_cost(body, profile, jets, smooth)
    if body.size == 1:
        found = jax.lax.stop_gradient(_one_moment(body, profile))
    else:
        found = jax.lax.stop_gradient(
            _search(body, profile, jets, density, rel_gap, rounds, planes)
        )
    # the maximum over the body is at least 0, which M = 0 gives
    moments = jnp.where(found.lower > 0, found.moments, 0)
    excess = lower_excess(body, profile, jets, moments)
    gap = jnp.maximum(jax.lax.stop_gradient(found.upper - excess), 0)
    return found._replace(
        lower=density + excess, upper=density + excess + gap, density=density, moments=moments
    )


class _Found(NamedTuple):
    """The state of the search: the best bounds, and what the next round should know."""

    best: IntervalBracket
    charged: Any  # nodes of the last Newton program, and their dual mass
    charges: Any
    cuts: Any  # (rounds, x): extrema of |Q_M| that earlier programs did not know
    switches: Any  # (rounds, t): sign changes of Q_M likewise
    count: Any


def _search(
    body: GaugeBody,
    profile: Profile,
    jets: Jets,
    density: Any,
    rel_gap: Any,
    rounds: int,
    planes: int,
) -> IntervalBracket:
    dtype = profile.edges.dtype
    tolerance = jnp.maximum(rel_gap, _CLOSED * jnp.finfo(dtype).eps).astype(dtype)
    linear = profile.polynomial(body)
    base = jnp.asarray(body.nodes, dtype)
    offsets = jnp.asarray(_OFFSETS, dtype)
    scale = jnp.sum(jnp.abs(linear)) + jnp.sum(profile.masses()[0][:, 0])
    scale = jnp.where(scale > 0, scale, 1)

    def round_of(state: _Found) -> _Found:
        best = state.best
        roots = real_roots(body.polynomial(best.moments), -1.0, 1.0)
        extrema = body.critical(best.moments)
        # the roots and extrema of the best M lie at some small distance from these: whatever it
        # is, one of the offsets has its size, and what is lost is of second order
        extra = jnp.concatenate([_spread(roots, offsets), state.switches.reshape(-1)])
        finer = split(profile, sample(jets, jnp.sort(extra), kinks=profile.kinks))
        nodes = jnp.concatenate([base, _spread(extrema, offsets), state.cuts.reshape(-1)])
        cells, atoms, prices = finer.functionals(body), body.atoms(nodes), body.prices(nodes)

        # Newton's program: near a root the cells' kink in M is replaced by their curvature
        shared = _shared(state.charged, state.charges, extrema)
        curvature = objective_curvature(body, jets, best.moments, roots)
        curvature += constraint_curvature(body, best.moments, extrema, shared)
        near = _near(finer, roots)
        signs = jnp.where(near, jnp.sign(jnp.sum(cells * best.moments, axis=-1)) / 2, 0)
        close = jnp.any((shared > 0) & (jnp.abs(nodes[:, None] - extrema) < _NEAR), axis=1)
        close &= ~_corner(nodes) & ~jnp.any(nodes[:, None] == extrema, axis=1)
        left = (linear - jnp.sum(signs[:, None] * cells, axis=0)) / scale
        others = jnp.where(near[:, None], 0, cells) / scale

        # and the program without curvature, whose dual solution is a representation, in one call
        solved = jax.vmap(solve_program, in_axes=(0, 0, None, 0, 0, None))(
            jnp.stack([linear / scale, left]),
            jnp.stack([0 * curvature, curvature / scale]),
            atoms,
            jnp.stack([prices, jnp.where(close, _LOOSE, 1) * prices]),
            jnp.stack([cells / scale, others]),
            _SHARE * tolerance,
        )
        particles = solved.particles * scale
        upper = upper_excess(body, finer, solved.shares[0], nodes, particles[0])
        parts = jnp.asarray(_PARTS, dtype)[:, None]
        tried = best.moments + parts * (solved.moments[1] - best.moments)
        tried = jnp.concatenate([solved.moments, tried])
        values, scaled, learnt, changes = jax.vmap(lambda m: scaled_excess(body, profile, jets, m))(
            tried
        )
        index = jnp.argmax(values)
        better = values[index] > best.lower
        lower = jnp.where(better, values[index], best.lower)
        moments = jnp.where(better, scaled[index], best.moments)
        zero = jnp.zeros((), dtype)
        found = IntervalBracket(
            lower, upper, zero, moments, finer.edges, solved.shares[0], nodes, particles[0]
        )
        closer = upper < best.upper
        kept = best._replace(lower=lower, moments=moments)
        best = jax.tree.map(lambda a, b: jnp.where(closer, a, b), found, kept)
        slot = state.count % _REMEMBERED
        return _Found(
            best,
            nodes,
            jnp.abs(particles[1]) * prices,
            # what each program got wrong is known to the next ones: cutting planes
            state.cuts.at[slot].set(learnt[:2].reshape(-1)),
            state.switches.at[slot].set(changes[:2].reshape(-1)),
            state.count + 1,
        )

    def going(state: _Found) -> Any:
        lower = jnp.maximum(state.best.lower, 0)
        open_gap = state.best.upper - lower > tolerance * (density + lower)
        return (state.count < rounds) & open_gap

    zero = jnp.zeros((), dtype)
    extrema = body.critical(jnp.zeros_like(linear)).shape[0]
    cuts = jnp.full((_REMEMBERED, 2 * extrema), 0.5, dtype)
    switches = jnp.ones((_REMEMBERED, 2 * body.s), dtype)
    count = base.size + extrema * offsets.size + cuts.size
    none = jnp.zeros(count, dtype)
    edges = profile.edges.size + body.s * offsets.size + switches.size
    first = cutting_planes(body, profile, jets, density, tolerance, planes).padded(edges, count)
    start = IntervalBracket(first.lower, first.upper, zero, *first[2:])
    state = _Found(start, none, none, cuts, switches, jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(going, round_of, state).best


def _spread(points: Any, offsets: Any) -> Any:
    return jnp.clip(points[:, None] + offsets, -1, 1).reshape(-1)


def _one_moment(body: GaugeBody, profile: Profile) -> IntervalBracket:
    """The same in closed form where Q_M is a constant: s = 0, or the bias-free weight."""
    linear, cells = profile.polynomial(body)[0], profile.functionals(body)[:, 0]
    whole = jnp.sum(cells)
    share = jnp.clip(linear / jnp.where(whole > 0, whole, 1), -0.5, 0.5)
    left = linear - share * whole
    excess = jnp.maximum(0, jnp.abs(linear) - whole / 2)
    moments = jnp.where(linear < 0, -1, 1).astype(linear.dtype)[None]
    x = jnp.asarray(body.basis[0], linear.dtype)
    particles = left / body.atoms(x)[:, 0]
    shares = jnp.full_like(cells, share)
    zero = jnp.zeros_like(linear)
    return IntervalBracket(excess, excess, zero, moments, profile.edges, shares, x, particles)


def _shared(nodes: Any, charges: Any, extrema: Any) -> Any:
    """The dual mass of the nodes, each counted for the extremum nearest to it."""
    distance = jnp.abs(nodes[:, None] - extrema)
    nearest = distance == jnp.min(distance, axis=1, keepdims=True, initial=2)
    mine = nearest & (distance < _NEAR) & ~_corner(nodes)[:, None]
    shared = jnp.sum(jnp.where(mine, charges[:, None], 0), axis=0)
    return jnp.where(shared > _CHARGED * jnp.sum(charges), shared, 0)


def _corner(nodes: Any) -> Any:
    return (nodes == 0) | (jnp.abs(nodes) == 0.5) | (jnp.abs(nodes) == 1)


def _near(profile: Profile, roots: Any) -> Any:
    """Which cells lie near a root; no atom does: it has no curvature."""
    edges = profile.edges
    left, right = edges[:-1, None] - _CLEAR, edges[1:, None] + _CLEAR
    near = jnp.any((jnp.abs(roots) < 1) & (left < roots) & (roots < right), axis=1)
    return jnp.pad(near, (0, edges.shape[0] if profile.kinks else 0))
