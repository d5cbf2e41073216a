"""Ascent of the lower bound of an embedding constant in the particle (w, b) and in M together."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxbarron.activations import Activation, activation
from jaxbarron.atlas import embedding
from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_dual import excess_of, split_at_roots
from jaxbarron.bounds.interval_edges import activation_breaks, rough_kink
from jaxbarron.bounds.interval_float import rounding_of
from jaxbarron.bounds.interval_problem import problem_of
from jaxbarron.bounds.interval_profile import composed_jets, density_cost, sample
from jaxbarron.bounds.lower_bounds import lower_bound
from jaxbarron.errors import UnreachableTargetError, UsageError
from jaxbarron.tighten.run import Step, check_run, tighten

__all__ = ["ConstantBracket", "constant_value", "tighten_constant"]

_BASE_EDGES = 17
_CHUNK = 50
_RATE = 0.05
_SPREADS = (0.05, 50.0)


@dataclass(frozen=True)
class ConstantBracket:
    """``lower <= C <= upper`` for the embedding constant C.

    Attributes:
        lower: the largest value seen of a true lower bound.
        upper: that of the atlas (:func:`jaxbarron.embedding`), of level ``rigorous``.
        level: of ``lower``: ``"float"``.
        spread: w of the particle source(w r + b) that proves ``lower``; 0 or inf: a limit.
        offset: its b.
        theorem: of THEORY.md.
        history: ``lower`` and ``upper`` at the end of each chunk.
    """

    lower: float
    upper: float
    level: Literal["float"]
    spread: float
    offset: float
    theorem: str
    history: tuple[Step, ...]

    @property
    def gap(self) -> float:
        """``(upper - lower) / upper``."""
        return 1.0 if math.isinf(self.upper) else (self.upper - self.lower) / self.upper


class _Place(NamedTuple):
    """log w, b and M: what is moved."""

    scale: Float[Array, ""]
    offset: Float[Array, ""]
    moments: Float[Array, " k"]


def constant_value(
    sigma: Activation, body: GaugeBody
) -> Callable[[Float[Array, ""], Float[Array, ""], Float[Array, " k"]], Float[Array, ""]]:
    """A function of (w, b, M) that is nowhere above the embedding constant of sigma in RePU_s.

    ``(density part + excess at M) / (1 + w + |b|)^s`` with M scaled into the body where it is
    outside (THEORY.md, Theorem Tightening).  Pure, and differentiable in all three.
    """
    breaks = activation_breaks(sigma, body.s)
    kinks = bool(sigma.kinks) or sigma.homogeneity is not None

    def value(w: Any, b: Any, moments: Any) -> Any:
        dtype = w.dtype
        inside = jnp.clip((jnp.asarray(breaks, dtype) - b) / w, -1, 1)
        edges = jnp.sort(jnp.concatenate([inside, jnp.linspace(-1, 1, _BASE_EDGES, dtype=dtype)]))
        jets = composed_jets(sigma.fn, body.s + 1, w, b)
        profile = sample(jets, edges, kinks=kinks)
        scaled = moments / jnp.maximum(1, _gauge(body, moments))
        finer = split_at_roots(body, profile, jets, scaled).profile
        norm = density_cost(body, profile, jets) + excess_of(body, finer, scaled)
        rho = w + jnp.abs(b)
        return norm / (rho if sigma.homogeneity is not None else 1 + rho) ** body.s

    return value


def _gauge(body: GaugeBody, moments: Any) -> Any:
    """The gauge; its slope is that of the constraint that binds."""
    fixed = jax.lax.stop_gradient(moments)
    corners = jnp.asarray(body.nodes, moments.dtype)
    points = jax.lax.stop_gradient(jnp.concatenate([corners, body.critical(fixed)]))
    largest = jnp.max(body.ratios(moments, points))
    # the exact one, raised by its rounding
    return largest * jax.lax.stop_gradient(body.gauge(fixed) / jnp.where(largest > 0, largest, 1))


def tighten_constant(
    source: str | Activation,
    target: str | Activation,
    *,
    rel_gap: float = 1e-6,
    steps: int = 400,
    starts: int = 16,
    key: Any = None,
    progress: Callable[[Step], None] = lambda step: None,
) -> ConstantBracket:
    """The embedding constant of sigma in RePU_s from below, by ascent over all particles.

    From several starts (log w, b, M) climb together by Adam; every value on the way is a true lower
    bound.  At the best particle M is then tightened alone.  The bounds that need no search
    (THEORY.md, Theorem Lower bounds), the limits w -> 0 and w -> infinity among them, are where
    the climb starts from (Theorem Tightening).

    Args:
        source: sigma, smooth enough for RePU_s.
        target: RePU_s with s >= 1; the order of the weights is s.
        rel_gap: stop once the gap to the upper bound of the atlas is no larger.
        steps: of Adam, in chunks of 50.
        starts: how many climb side by side.
        key: places the starts; ``jax.random.key(0)`` where left out.
        progress: called after each chunk.

    Raises:
        UsageError: ``steps`` or ``starts`` < 1.
        ToleranceError: rel_gap is not in (0, 1).
        UnreachableTargetError: the target is no RePU_s, s >= 1, or a derivative of sigma below
            order s jumps.

    Example:
        >>> found = tighten_constant("sigmoid", "repu(2)", steps=50, starts=4)
        >>> found.lower <= 0.5 <= found.upper
        True
    """
    check_run(rel_gap, steps, None, False)
    if starts < 1:
        raise UsageError(f"given: starts={starts}; expected: at least 1; do: e.g. starts=16")
    sigma, tau = activation(source), activation(target)
    s = tau.homogeneity
    rough = None if s is None else rough_kink(sigma, s, -math.inf, math.inf)
    if not s or rough is not None or sigma.homogeneity not in (None, s):
        raise UnreachableTargetError(
            f"given: {sigma.name} into {tau.name}; expected: RePU_s, s >= 1, and a source whose "
            "derivatives below order s do not jump and that grows no faster; do: see embedding()"
        )
    body = GaugeBody(s)
    upper = embedding(sigma, tau, order=s).upper
    known = lower_bound(sigma, tau, s)
    best, where = 0.0, (0.0, 0.0)
    if known is not None:
        best, where = known.value, (known.spread, known.offset)
    key = jax.random.key(0) if key is None else key
    history: list[Step] = []
    with jax.enable_x64(True):
        scales, offsets = _first(starts, key)
        start = _Place(scales, offsets, jnp.zeros((starts, body.size)))
        state = (start, jax.vmap(_optimiser().init)(start), start, jnp.full(starts, -jnp.inf))
        taken = 0
        while taken < steps and (upper - best) > rel_gap * upper:
            state = _chunk(sigma, body, state)
            taken += _CHUNK
            index = int(jnp.argmax(state[3]))
            place = math.exp(float(state[2].scale[index])), float(state[2].offset[index])
            found = _rounded(sigma, body, *place, float(state[3][index]))
            if found > best:
                best, where = found, place
            history.append(Step(taken, best, upper))
            progress(history[-1])
    if math.isfinite(where[0]) and where[0] > 0:
        alone = tighten(sigma, tau, spread=where[0], offset=where[1], steps=200)
        ratio = alone.lower / _price(sigma, s, *where)
        best = max(best, _rounded(sigma, body, *where, ratio))
    return ConstantBracket(best, upper, "float", *where, "Theorem Tightening", tuple(history))


def _price(sigma: Activation, s: int, spread: float, offset: float) -> float:
    return (spread + abs(offset) + (sigma.homogeneity is None)) ** s


def _rounded(
    sigma: Activation, body: GaugeBody, spread: float, offset: float, ratio: float
) -> float:
    """The ratio less its rounding."""
    rounding = rounding_of(problem_of(sigma, None, spread, offset, (-1.0, 1.0)), body)
    price = _price(sigma, body.s, spread, offset)
    return rounding.widened(ratio * price, ratio * price)[0] / price


def _optimiser() -> Any:
    import optax  # whoever imports the library need not wait for it

    return optax.adam(_RATE)


def _first(starts: int, key: Any) -> tuple[Any, Any]:
    """log w and b, spread over the scales on which activations vary."""
    one, two = jax.random.split(key)
    low, high = (math.log(x) for x in _SPREADS)
    share = (jnp.arange(starts) + jax.random.uniform(one, (starts,))) / starts
    return low + (high - low) * share, 1.5 * jax.random.normal(two, (starts,))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _chunk(sigma: Activation, body: GaugeBody, state: Any) -> Any:
    value = constant_value(sigma, body)

    def height(place: _Place) -> Any:
        return value(jnp.exp(place.scale), place.offset, place.moments)

    def climb(place: _Place, optimiser: Any, best: _Place, highest: Any) -> Any:
        def step(state: Any, _: Any) -> Any:
            place, optimiser, best, highest = state
            found, slope = jax.value_and_grad(height)(place)
            better = found > highest
            best = jax.tree.map(lambda a, b: jnp.where(better, a, b), place, best)
            moves, moved = _optimiser().update(jax.tree.map(jnp.negative, slope), optimiser)
            good = jnp.all(jnp.asarray([jnp.all(jnp.isfinite(v)) for v in moves]))
            new = jax.tree.map(lambda v, m: jnp.where(good, v + m, v), place, moves)
            kept = jax.tree.map(lambda a, b: jnp.where(good, a, b), moved, optimiser)
            return (new, kept, best, jnp.where(better, found, highest)), None

        return jax.lax.scan(step, (place, optimiser, best, highest), None, length=_CHUNK)[0]

    return jax.vmap(climb)(*state)
