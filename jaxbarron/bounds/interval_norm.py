"""The norm of a function of one variable in the RePU_s space of an interval."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbarron.activations import Activation, activation
from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_bracket import IntervalBracket, interval_bracket
from jaxbarron.bounds.interval_edges import activation_breaks, network_edges, rough_kink
from jaxbarron.bounds.interval_profile import composed_jets
from jaxbarron.errors import (
    DomainError,
    NonFiniteError,
    ShapeError,
    UnreachableTargetError,
    UsageError,
)
from jaxbarron.measures import ParticleMeasure
from jaxbarron.norms import Weight

__all__ = ["Bracket", "interval_norm", "norm_function"]

_ROUNDING = 2.0**-40  # of the bounds: what rounding in double precision may have done to them
_BASE_EDGES = 17


@dataclass(frozen=True, eq=False)
class Bracket:
    """``lower <= ||f|| <= upper``.

    Attributes:
        lower: inf where the norm is infinite.
        upper: likewise.
        level: ``"float"``: floating point, with sign changes found on a grid; no enclosure.
        theorem: of THEORY.md.
        reason: why the norm is infinite; empty otherwise.
        evidence: M for the lower bound, cells and particles for the upper one; None if infinite.
    """

    lower: float
    upper: float
    level: Literal["float"]
    theorem: str
    reason: str = ""
    evidence: IntervalBracket | None = None

    @property
    def gap(self) -> float:
        """``(upper - lower) / upper``; 0 where both are 0 or infinite."""
        if self.lower == self.upper:
            return 0.0
        return (self.upper - self.lower) / self.upper


def interval_norm(
    f: str | Activation | Callable[[Any], Any] | ParticleMeasure,
    s: int,
    *,
    sigma: str | Activation | None = None,
    weight: Weight = "homogeneous",
    spread: float = 1.0,
    offset: float = 0.0,
    rel_gap: float = 1e-10,
) -> Bracket:
    """The norm of ``y -> f(spread * y + offset)``, |y| <= 1, in the Barron space of RePU_s.

    The least ``sum |c_j| V(w_j, b_j)`` over all measures of RePU_s particles that represent the
    function on [-1, 1] (Theorem Interval norm; s = 0: Theorem Variation norm).  A particle
    ``sigma(w . x + b)`` on the ball of radius R has the norm of ``sigma(spread y + offset)`` with
    spread = R ||w||_* and offset = b, in any dimension (Theorem Embedding constant).

    Args:
        f: an activation, its name, a scalar JAX function (whose kinks must be declared: pass an
            Activation then), or a measure with one input and one output.
        s: 0 to 4.
        sigma: the activation with which a measure represents its function.
        weight: V; see :func:`jaxbarron.norms.weight_values`.  ``"inhomogeneous"`` gives the norm of
            ``"homogeneous"``, as large multiples of a particle cost that much.
        spread: finite; its sign does not matter to the norm.
        offset: finite.
        rel_gap: where to stop.

    Returns:
        The bracket reached, whatever its gap.  Infinite, with the reason, if a derivative of
        order below s jumps inside.

    Raises:
        UsageError: s, the weight or sigma is missing or out of range.
        ShapeError: a measure with several inputs or outputs.
        DomainError: the spread or the offset is not finite.
        NonFiniteError: the function or a derivative is not finite on the interval.

    Example:
        >>> found = interval_norm("tanh", 2)
        >>> round(found.lower, 4), round(found.upper, 4), found.level
        (3.1769, 3.1769, 'float')
    """
    body = GaugeBody(s, weight)
    source, network = _network(f, sigma, spread, offset)
    theorem = "Theorem Interval norm" if s else "Theorem Variation norm"
    for w, b in zip(network[1], network[2], strict=True):
        kink = rough_kink(source, s, b - abs(w), b + abs(w))
        if kink is not None:
            reason = f"the derivative of order {kink[1]} jumps at z = {kink[0]:.6g}"
            return Bracket(math.inf, math.inf, "float", theorem, reason)
    with jax.enable_x64(True):
        edges = network_edges(source, s, *network)
        kinks = bool(source.kinks) or source.homogeneity is not None
        arrays = [jnp.asarray(v) for v in (*network, edges)]
        found = _solve(body, source, kinks, rel_gap, *arrays)
        found = jax.tree.map(np.asarray, found)
    lower, upper = float(found.lower), float(found.upper)
    if not (math.isfinite(lower) and math.isfinite(upper)):
        raise NonFiniteError(
            f"given: {source.name}, which has values or derivatives that are not finite on "
            f"[{offset - abs(spread):.6g}, {offset + abs(spread):.6g}]; expected: a function that "
            "double precision can hold there; do: choose a smaller spread"
        )
    lower, upper = lower - _ROUNDING * upper, upper + _ROUNDING * upper
    return Bracket(max(lower, 0.0), upper, "float", theorem, evidence=found)


def norm_function(
    sigma: str | Activation, s: int, *, weight: Weight = "homogeneous", rel_gap: float = 1e-10
) -> Callable[[Any, Any], IntervalBracket]:
    """The bracket of ``sigma(w y + b)`` as a JAX function of scalars w >= 0 and b.

    Works under jit, vmap and grad, in the dtype of its arguments: the derivative of both bounds
    is that of the lower one at fixed M, which is the derivative of the norm where there is one
    (Theorem Bounds at every iterate).  Below double precision the gap is that of the dtype.

    Raises:
        UsageError: s or the weight is out of range.
        UnreachableTargetError: a derivative of sigma of order below s jumps.

    Example:
        >>> with jax.enable_x64(True):
        ...     found = jax.vmap(norm_function("tanh", 1))(jnp.array([0.5, 1.0]), jnp.zeros(2))
        ...     bool(jnp.all(found.upper - found.lower < 1e-9))
        True
    """
    source, body = activation(sigma), GaugeBody(s, weight)
    rough = rough_kink(source, s, -math.inf, math.inf)
    if rough is not None:
        raise UnreachableTargetError(
            f"given: {source.name}, whose derivative of order {rough[1]} jumps at {rough[0]:g}, "
            f"for RePU_{s}; expected: derivatives of order below {s} without a jump; do: lower s, "
            "or use interval_norm, which says where the norm is finite"
        )
    breaks = activation_breaks(source, s)
    kinks = bool(source.kinks) or source.homogeneity is not None

    def bracket(w: Float[Array, ""], b: Float[Array, ""]) -> IntervalBracket:
        w, b = jnp.asarray(w), jnp.asarray(b)
        dtype = jnp.result_type(w, b, jnp.float32) if w.dtype != b.dtype else w.dtype
        w, b = w.astype(dtype), b.astype(dtype)
        inside = (jnp.asarray(breaks, dtype) - b) / jnp.where(w > 0, w, 1)
        inside = jnp.where(w > 0, jnp.clip(inside, -1, 1), 1)
        edges = jnp.concatenate([inside, jnp.linspace(-1, 1, _BASE_EDGES, dtype=dtype)])
        jets = composed_jets(source.fn, s + 1, w, b)
        return interval_bracket(body, jets, jnp.sort(edges), kinks=kinks, rel_gap=rel_gap)

    return bracket


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _solve(
    body: GaugeBody, source: Activation, kinks: bool, rel_gap: float,
    weights: Any, spreads: Any, offsets: Any, edges: Any,
) -> IntervalBracket:  # fmt: skip
    jets = composed_jets(source.fn, body.s + 1, spreads, offsets, weights)
    return interval_bracket(body, jets, edges, kinks=kinks, rel_gap=rel_gap)


def _network(
    f: Any, sigma: str | Activation | None, spread: float, offset: float
) -> tuple[Activation, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The activation, and the weights, spreads and offsets of its neurons."""
    if not (math.isfinite(spread) and math.isfinite(offset)):
        raise DomainError(
            f"given: spread={spread}, offset={offset}; expected: finite numbers; do: pass the "
            "half-width of the interval and its centre, in the function's own argument"
        )
    if not isinstance(f, ParticleMeasure):
        if sigma is not None:
            raise UsageError(
                "given: sigma with a function that is no measure; expected: sigma for a "
                "ParticleMeasure only; do: leave it out"
            )
        return activation(f), (np.ones(1), np.full(1, float(spread)), np.full(1, float(offset)))
    if sigma is None:
        raise UsageError(
            "given: a measure without its activation; expected: sigma=...; do: e.g. sigma='tanh'"
        )
    if f.inputs != 1 or f.outputs != 1:
        raise ShapeError(
            f"given: a measure with {f.inputs} inputs and {f.outputs} outputs; expected: one of "
            "each; do: restrict it to a line, and take one output"
        )
    a, w, b = (np.asarray(v, np.float64).reshape(-1) for v in (f.weights, f.directions, f.offsets))
    return activation(sigma), (a, w * spread, w * offset + b)
