"""Both bounds of the norm on an interval driven together, as one pure JAX function.

A program over cells and nodes gives a first M; each later round puts edges at the sign changes of
Q_M and nodes at the extrema of |Q_M|, adds the curvature that the cells do not show, and solves
again: Newton's method, globalised by the program.  Whatever it does, both bounds stay true, and the
best of each is kept.
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
    split_at_roots,
)
from jaxbarron.bounds.interval_primal import upper_excess
from jaxbarron.bounds.interval_profile import Jets, Profile, density_cost, sample, split
from jaxbarron.bounds.interval_program import solve_program
from jaxbarron.bounds.polynomial_roots import real_roots

__all__ = ["IntervalBracket", "interval_bracket"]

_ROUNDS = 12
_PARTS = (1.0, 0.5, 0.2, 0.05, 0.01)  # of a proposed step that are tried
_OFFSETS = (0.0, *(sign * 10.0**-k for k in range(2, 9) for sign in (-1, 1)))
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
    rel_gap: float = _REL_GAP,
    rounds: int = _ROUNDS,
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
    """
    profile = sample(jets, edges, kinks=kinks)
    density = density_cost(body, profile, jets)
    if body.size == 1:
        found = jax.lax.stop_gradient(_one_moment(body, profile))
    else:
        found = jax.lax.stop_gradient(_search(body, profile, jets, density, rel_gap, rounds))
    # the maximum over the body is at least 0, which M = 0 gives
    moments = jnp.where(found.lower > 0, found.moments, 0)
    excess = lower_excess(body, profile, jets, moments)
    gap = jnp.maximum(jax.lax.stop_gradient(found.upper - excess), 0)
    return found._replace(
        lower=density + excess, upper=density + excess + gap, density=density, moments=moments
    )


def _search(
    body: GaugeBody, profile: Profile, jets: Jets, density: Any, rel_gap: float, rounds: int
) -> IntervalBracket:
    dtype = profile.edges.dtype
    tolerance = max(rel_gap, _CLOSED * float(jnp.finfo(dtype).eps))
    linear = profile.polynomial(body)
    base = jnp.asarray(body.nodes, dtype)
    scale = jnp.sum(jnp.abs(linear)) + jnp.sum(profile.masses()[0][:, 0])
    scale = jnp.where(scale > 0, scale, 1)
    zero = jnp.zeros_like(linear)

    def at(moments: Any) -> tuple[Any, Any]:
        gauge = body.gauge(moments)
        scaled = moments / jnp.where(gauge > 0, gauge, 1)
        return lower_excess(body, profile, jets, scaled), scaled

    def best_on_the_way(start: Any, bold: Any, safe: Any) -> tuple[Any, Any]:
        """The bold proposal or the best of a few points on the way to the safe one."""
        parts = jnp.asarray(_PARTS, dtype)
        tried = start + parts[:, None] * (safe - start)
        values, scaled = jax.vmap(at)(jnp.concatenate([bold[None], tried]))
        index = jnp.argmax(values)
        return values[index], scaled[index]

    def newton(moments: Any, value: Any, charged: Any, charges: Any) -> Any:
        finer, curvature, roots = split_at_roots(body, profile, jets, moments)
        extrema = body.critical(moments)
        shared = _shared(charged, charges, extrema)
        curvature += constraint_curvature(body, moments, extrema, shared)
        cells = finer.functionals(body)
        near = _near(finer.edges, roots)
        signs = jnp.where(near, jnp.sign(jnp.sum(cells * moments, axis=-1)) / 2, 0)
        left = (linear - signs @ cells) / scale
        others = jnp.where(near[:, None], 0, cells) / scale
        loose = _loosened(base, extrema, shared > 0)

        def proposal(cuts: Any) -> Any:
            nodes = jnp.concatenate([base, extrema, cuts])
            limits = body.prices(nodes) * jnp.pad(loose, (0, 2 * extrema.size), constant_values=1)
            found = solve_program(left, curvature / scale, body.atoms(nodes), limits, others)
            charges = jnp.abs(found.particles) * scale * body.prices(nodes)
            return body.critical(found.moments), (found.moments, nodes, charges)

        # the second program knows where the first one left the body
        _, tried = jax.lax.scan(lambda cuts, _: proposal(cuts), extrema, None, length=2)
        new, scaled = best_on_the_way(moments, *tried[0])
        better = new > value
        nodes, charges = tried[1][1], tried[2][1]
        moments = jnp.where(better, scaled, moments)
        return moments, jnp.maximum(new, value), nodes, charges

    def represented(
        moments: Any, value: Any, cuts: Any, switches: Any
    ) -> tuple[IntervalBracket, Any]:
        """The program without curvature, whose dual solution is a representation."""
        # the roots and extrema of the best M lie at some small distance from these: whatever it
        # is, one of the offsets has its size, and what is lost is of second order
        offsets = jnp.asarray(_OFFSETS, dtype)
        roots = real_roots(body.polynomial(moments), -1.0, 1.0)[:, None] + offsets
        roots = jnp.clip(jnp.concatenate([roots.reshape(-1), switches.reshape(-1)]), -1, 1)
        finer = split(profile, sample(jets, jnp.sort(roots), kinks=profile.kinks))
        extrema = (body.critical(moments)[:, None] + offsets).reshape(-1)
        nodes = jnp.concatenate([base, jnp.clip(extrema, -1, 1), cuts.reshape(-1)])
        cells = finer.functionals(body)
        prices = body.prices(nodes)
        found = solve_program(
            linear / scale, 0 * jnp.outer(linear, linear), body.atoms(nodes), prices, cells / scale
        )
        new, scaled = best_on_the_way(moments, found.moments, found.moments)
        particles = found.particles * scale
        upper = upper_excess(body, finer, found.shares, nodes, particles)
        bracket = IntervalBracket(
            jnp.maximum(value, new),
            upper,
            jnp.zeros((), dtype),
            jnp.where(new > value, scaled, moments),
            finer.edges,
            found.shares,
            nodes,
            particles,
        )
        return bracket, found.moments

    def step(state: Any) -> Any:
        best, charged, charges, cuts, switches, count = state
        moments, value, charged, charges = newton(best.moments, best.lower, charged, charges)
        found, proposed = represented(moments, value, cuts, switches)
        # what each program got wrong is known to all later ones: cutting planes
        cuts = cuts.at[count].set(body.critical(proposed))
        switches = switches.at[count].set(real_roots(body.polynomial(proposed), -1.0, 1.0))
        kept = best._replace(lower=found.lower, moments=found.moments)
        closer = found.upper < best.upper
        best = jax.tree.map(lambda a, b: jnp.where(closer, a, b), found, kept)
        return best, charged, charges, cuts, switches, count + 1

    def going(state: Any) -> Any:
        best, *_, count = state
        lower = jnp.maximum(best.lower, 0)
        open_gap = best.upper - lower > tolerance * (density + lower)
        return (count < rounds) & open_gap

    extrema = body.critical(zero).shape[0]
    none = jnp.zeros(base.shape[0] + 2 * extrema, dtype)
    cuts, switches = jnp.full((rounds, extrema), 0.5, dtype), jnp.ones((rounds, body.s), dtype)
    shapes = jax.eval_shape(represented, zero, jnp.zeros((), dtype), cuts, switches)[0]
    start = jax.tree.map(lambda a: jnp.zeros(a.shape, dtype), shapes)
    infinite = jnp.asarray(jnp.inf, dtype)
    start = start._replace(lower=-infinite, upper=infinite)
    state = (start, none, none, cuts, switches, jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(going, step, state)[0]


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


def _loosened(nodes: Any, extrema: Any, charged: Any) -> Any:
    """Factors on the limits at nodes next to an extremum whose curvature is in the program."""
    close = jnp.any(charged & (jnp.abs(nodes[:, None] - extrema) < _NEAR), axis=1)
    return jnp.where(close & ~_corner(nodes), 4.0, 1.0).astype(nodes.dtype)


def _near(edges: Any, roots: Any) -> Any:
    """Which cells lie near a root; no atom does: it has no curvature."""
    left, right = edges[:-1, None] - _CLEAR, edges[1:, None] + _CLEAR
    inside = (jnp.abs(roots) < 1) & (left < roots) & (roots < right)
    return jnp.concatenate([jnp.any(inside, axis=1), jnp.zeros(edges.shape[0], bool)])
