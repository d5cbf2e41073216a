"""Both bounds of a norm driven by optax: one round of steps as a pure function.

THEORY.md, Theorem Tightening.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_dual import lower_excess, split_at_roots
from jaxbarron.bounds.interval_primal import upper_excess
from jaxbarron.bounds.interval_profile import Jets, Profile, density_cost

__all__ = ["METHODS", "Dual", "Function", "Method", "Point", "improve", "start", "whitening"]

_CORNERS = (0.0, 0.5, -0.5, 1.0, -1.0)
_STIFFNESS = 10.0  # of the penalty on |Q_M| above its price
_FIRST_WIDTH, _LAST_WIDTH = 1.0, 1e-9  # of the smoothing of |Q_M|, from round to round
_FALL, _SLOW_FALL = 0.1, 0.7  # of the width in a round, with and without excess
_TINY = 1e-14  # weight of the particles that have no multiplier, in the repair
_SMALL = 0.1  # size of the first M
_FLOORS = (1e-5, 1e1)  # of the body's own shape in the whitening, without and with excess


@dataclass(frozen=True)
class Method:
    """An optimiser of optax, and whether it forgets its past when the multipliers change."""

    name: str
    make: Callable[[Any], Any] = field(compare=False)
    restarts: bool = False

    @functools.cached_property
    def optimiser(self) -> Any:
        """Made when it is asked for: whoever imports the library need not wait for optax."""
        import optax

        return self.make(optax)


# Measured by ``python -m benchmarks --only tighten``, which prints all of them.
METHODS = {
    method.name: method
    for method in (
        Method("lbfgs", lambda optax: optax.lbfgs(memory_size=8), restarts=True),
        Method("adam", lambda optax: optax.adam(3e-2)),
        Method("momentum", lambda optax: optax.sgd(1e-2, momentum=0.9)),
        Method("optimistic", lambda optax: optax.optimistic_gradient_descent(1e-2)),
    )
}


class Dual(NamedTuple):
    """What is optimised: M, and the multipliers of ``|Q_M| <= price``."""

    moments: Float[Array, " k"]
    multipliers: Float[Array, " n"]
    width: Float[Array, ""]
    optimiser: Any


class Point(NamedTuple):
    """The best bounds so far, without the density part, and what proves them.

    Attributes:
        lower: ``lower_excess`` of ``moments``.
        upper: ``upper_excess`` of ``shares``, ``nodes`` and ``particles`` on ``edges``.
    """

    lower: Float[Array, ""]
    upper: Float[Array, ""]
    moments: Float[Array, " k"]
    edges: Float[Array, " e"]
    shares: Float[Array, " c"]
    nodes: Float[Array, " n"]
    particles: Float[Array, " n"]


class Function(NamedTuple):
    """The function whose norm is sought: its profile and jets, and the price of its density."""

    profile: Profile
    jets: Jets
    density: Float[Array, ""]

    @classmethod
    def of(cls, body: GaugeBody, profile: Profile, jets: Jets, smooth: Any = None) -> Function:
        """The same with the density part computed; see :func:`density_cost` for ``smooth``."""
        return cls(profile, jets, density_cost(body, profile, jets, smooth))


def whitening(body: GaugeBody, profile: Profile, floor: Any) -> Float[Array, "k k"]:
    """The matrix of M = matrix @ coordinates that makes the smoothed dual about round.

    Cells far from the ends see nearly the same functional of M, and where shares alone make the
    polynomial the steps needed would grow with the reach; where particles are needed, the body's
    own shape, of weight ``floor``, counts.
    """
    x = jnp.asarray(body.nodes, profile.edges.dtype)
    rows = body.atoms(x) / body.prices(x)[:, None]
    cells = profile.functionals(body)
    size = jnp.sum(jnp.abs(cells), axis=-1, keepdims=True)
    shown = cells / jnp.sqrt(jnp.where(size > 0, size, 1))
    total = jnp.sum(size)
    gram = jnp.sum(shown[:, :, None] * shown[:, None, :], axis=0)
    gram /= jnp.where(total > 0, total, 1)
    gram += floor * jnp.sum(rows[:, :, None] * rows[:, None, :], axis=0) / len(x)
    inverse = jnp.linalg.inv(jnp.linalg.cholesky(gram))
    return inverse.T


def start(body: GaugeBody, function: Function, method: Method, key: Any) -> tuple[Dual, Point]:
    """The first iterate: M near the direction of the polynomial, and a bracket that holds already.

    M = 0 proves that the excess is at least 0; D split evenly, and particles for the whole
    polynomial, are a representation.
    """
    dtype = function.profile.edges.dtype
    matrix = whitening(body, function.profile, _FLOORS[1])
    towards = jnp.sum(matrix * function.profile.polynomial(body)[:, None], axis=0)
    towards += 1e-3 * jax.random.normal(key, towards.shape, dtype) * jnp.max(jnp.abs(towards))
    size = jnp.max(jnp.abs(towards))
    coordinates = _SMALL * towards / jnp.where(size > 0, size, 1)
    moments = jnp.sum(matrix * coordinates, axis=1)
    nodes = _nodes(body, moments)
    dual = Dual(
        moments,
        jnp.zeros_like(nodes),
        jnp.asarray(_FIRST_WIDTH, dtype),
        method.optimiser.init(coordinates),
    )
    finer = split_at_roots(body, function.profile, function.jets, moments).profile
    shares = jnp.zeros(finer.functionals(body).shape[0], dtype)
    none = jnp.zeros_like(nodes)
    upper = upper_excess(body, finer, shares, nodes, none)
    return dual, Point(0 * upper, upper, 0 * moments, finer.edges, shares, nodes, none)


def improve(
    body: GaugeBody, function: Function, method: Method, steps: int, dual: Dual, best: Point
) -> tuple[Dual, Point]:
    """Some steps of the optimiser at fixed multipliers, then new ones, and both bounds.

    ``density + best.lower <= ||f|| <= density + best.upper`` holds for every dual whatever (Theorem
    Bounds at every iterate), to rounding; the best of each is kept.
    """
    import optax

    dtype = function.profile.edges.dtype
    matrix = whitening(body, function.profile, jnp.where(best.lower > 0, *_FLOORS[::-1]))
    first = jnp.linalg.solve(matrix, dual.moments)
    linear = function.profile.polynomial(body)
    scale = jnp.sum(jnp.abs(linear)) + jnp.sum(function.profile.masses()[0][:, 0])
    scale = jnp.where(scale > 0, scale, 1)
    stiffness = jnp.asarray(_STIFFNESS, dtype)

    def forces(moments: Any) -> tuple[Any, Any, Any]:
        """Nodes, the signed multipliers that the penalty asks for, and prices."""
        nodes = _nodes(body, moments)
        prices = body.prices(nodes)
        ratio = jnp.sum(body.atoms(nodes) * moments, axis=-1) / prices
        force = stiffness * (jnp.abs(ratio) - 1) + jnp.sign(ratio) * dual.multipliers
        return nodes, jnp.sign(ratio) * jnp.maximum(force, 0), prices

    def shared(moments: Any) -> tuple[Profile, Any, Any]:
        """Cells cut at the sign changes of Q_M, what they ask for, and the best shares."""
        finer = split_at_roots(body, function.profile, function.jets, moments).profile
        cells = finer.functionals(body)
        wide = dual.width * jnp.sum(jnp.abs(cells), axis=-1)
        towards = jnp.sum(cells * moments, axis=-1)
        shares = jnp.clip(towards / jnp.where(wide > 0, wide, 1), -0.5, 0.5)
        return finer, cells, jnp.where(wide > 0, shares, 0)

    def objective(coordinates: Any) -> Any:
        moments = jnp.sum(matrix * coordinates, axis=1)
        fixed = jax.lax.stop_gradient(moments)
        _, cells, shares = shared(fixed)
        wide = dual.width * jnp.sum(jnp.abs(cells), axis=-1)
        # the shares maximise <a, M> u - wide u^2/2: by the envelope theorem they are constants
        rest = linear - jnp.sum(shares[:, None] * cells, axis=0)
        value = jnp.sum(rest * moments) + jnp.sum(wide * shares**2) / 2
        _, pulls, prices = forces(fixed)
        # the penalty's own envelope: its derivative in M is the pull on each node
        nodes = _nodes(body, fixed)
        ratio = jnp.sum(body.atoms(nodes) * moments, axis=-1) / prices
        penalty = jnp.sum(pulls**2) / (2 * stiffness)
        penalty += jnp.sum(pulls * (ratio - jax.lax.stop_gradient(ratio)))
        return penalty - value / scale

    def step(state: Any, _: Any) -> Any:
        coordinates, optimiser = state
        value, slope = jax.value_and_grad(objective)(coordinates)
        moves, optimiser = optax.with_extra_args_support(method.optimiser).update(
            slope, optimiser, coordinates, value=value, grad=slope, value_fn=objective
        )
        moved: Any = optax.apply_updates(coordinates, moves)
        good = jnp.all(jnp.isfinite(moved))
        return jax.tree.map(
            lambda a, b: jnp.where(good, a, b), (moved, optimiser), (coordinates, state[1])
        ), None

    begun = method.optimiser.init(first) if method.restarts else dual.optimiser
    (coordinates, optimiser), _ = jax.lax.scan(step, (first, begun), None, length=steps)
    moments = jnp.sum(matrix * coordinates, axis=1)
    nodes, pulls, prices = forces(moments)
    finer, cells, shares = shared(moments)
    particles = _repaired(
        body, linear - jnp.sum(shares[:, None] * cells, axis=0), nodes, pulls * scale / prices
    )
    upper = upper_excess(body, finer, shares, nodes, particles)
    lower = lower_excess(body, function.profile, function.jets, moments)
    # M = 0 proves 0
    lower, proving = (jnp.where(lower > 0, v, 0) for v in (lower, moments))
    # Without excess the shares alone make the polynomial, M is in proportion to the width, and the
    # steps are better spent at one width; with it the width is in the way.
    fall = jnp.where(jnp.maximum(lower, best.lower) > 0, _FALL, _SLOW_FALL)
    width = jnp.maximum(dual.width * fall, _LAST_WIDTH)
    higher, closer = lower > best.lower, upper < best.upper
    found = Point(
        jnp.where(higher, lower, best.lower),
        jnp.where(closer, upper, best.upper),
        jnp.where(higher, proving, best.moments),
        *(
            jnp.where(closer, a, b)
            for a, b in zip((finer.edges, shares, nodes, particles), best[3:], strict=True)
        ),
    )
    return Dual(moments * jnp.where(lower > 0, 1, fall), pulls, width, optimiser), found


def _nodes(body: GaugeBody, moments: Any) -> Any:
    """All x where |Q_M| / price can have a maximum."""
    if body.size == 1:
        return jnp.asarray(body.nodes, moments.dtype)
    corners = jnp.asarray(_CORNERS, moments.dtype)
    return jax.lax.stop_gradient(jnp.concatenate([corners, body.critical(moments)]))


def _repaired(body: GaugeBody, rest: Any, nodes: Any, particles: Any) -> Any:
    """Particles whose sum is ``rest``, moved where there is most of them already."""
    atoms = body.atoms(nodes)
    size = jnp.abs(particles) + _TINY * jnp.sum(jnp.abs(rest))
    missing = rest - jnp.sum(particles[:, None] * atoms, axis=0)
    gram = jnp.sum(size[:, None, None] * atoms[:, :, None] * atoms[:, None, :], axis=0)
    moved = size * jnp.sum(atoms * jnp.linalg.solve(gram, missing), axis=-1)
    return particles + jnp.where(jnp.all(jnp.isfinite(moved)), moved, 0)
