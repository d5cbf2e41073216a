"""The norm of a function of one variable in the RePU_s space of an interval."""

from __future__ import annotations

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
from jaxbarron.bounds.interval_edges import (
    activation_breaks,
    moved_edges,
    resolving_points,
    rough_kink,
)
from jaxbarron.bounds.interval_evidence import evidence_of
from jaxbarron.bounds.interval_float import float_bounds
from jaxbarron.bounds.interval_measure import representation
from jaxbarron.bounds.interval_problem import Problem, Source, check_exact, problem_of
from jaxbarron.bounds.interval_profile import composed_jets
from jaxbarron.bounds.interval_rigorous import Evidence, rigorous_bounds
from jaxbarron.errors import UnreachableTargetError, UsageError
from jaxbarron.measures import ParticleMeasure
from jaxbarron.norms import Weight

__all__ = ["Bracket", "interval_norm", "norm_function", "theorem_of"]

_FEW_DIGITS = 1e-6  # from this gap on cutting planes are enough nearly always
_PLANES = 6, 3  # rounds of them for few digits, and before Newton's method for many


@dataclass(frozen=True, eq=False)
class Bracket:
    """``lower <= ||f|| <= upper``.

    Attributes:
        lower: inf where the norm is infinite.
        upper: likewise.
        level: ``"float"``: floating point, widened by its rounding, with sign changes found on a
            grid, no enclosure (Theorem Rounding of a bracket);
            ``"rigorous"``: outward-rounded enclosures, with nothing taken from the search but the
            numbers in ``evidence``.
        theorem: of THEORY.md.
        s: the power of RePU_s.
        weight: V.
        reason: why the norm is infinite, or why no bound was found; empty otherwise.
        problem: the function as a network on [-1, 1].
        found: M for the lower bound, cells and particles for the upper one; None if infinite.
        evidence: the numbers that the rigorous bounds were derived from; None at the level float.
    """

    lower: float
    upper: float
    level: Literal["float", "rigorous"]
    theorem: str
    s: int
    weight: Weight
    reason: str
    problem: Problem
    found: IntervalBracket | None = None
    evidence: Evidence | None = None

    @property
    def gap(self) -> float:
        """``(upper - lower) / upper``; 0 where both are 0 or infinite."""
        if self.lower == self.upper:
            return 0.0
        return (self.upper - self.lower) / self.upper

    def measure(self, particles: int = 256) -> tuple[ParticleMeasure, float]:
        """The representation behind ``upper`` as RePU_s particles on [-1, 1], and its residual.

        The density is replaced by about so many particles, with the same moments on each cell; the
        cost stays ``upper`` to rounding, and the function changes by at most the residual
        (Theorem Bounds at every iterate).  For the bias-free weight a polynomial of degree < s,
        which costs nothing, is left out.

        Raises:
            UnreachableTargetError: the norm is infinite: there is no representation.

        Example:
            >>> mu, residual = interval_norm("softplus", 1).measure(512)
            >>> residual < 1e-3
            True
        """
        if self.found is None:
            raise UnreachableTargetError(
                f"given: a function of infinite norm ({self.reason}); expected: one with a "
                "representation; do: lower s"
            )
        return representation(self.problem, GaugeBody(self.s, self.weight), self.found, particles)


def interval_norm(
    f: Source,
    s: int,
    *,
    sigma: str | Activation | None = None,
    weight: Weight = "homogeneous",
    spread: float = 1.0,
    offset: float = 0.0,
    interval: tuple[float, float] = (-1.0, 1.0),
    level: Literal["float", "rigorous"] = "float",
    rel_gap: float = 1e-10,
) -> Bracket:
    """The norm of ``x -> f(spread * x + offset)`` on an interval, in the Barron space of RePU_s.

    The least ``sum |c_j| V(w_j, b_j)`` over all measures of RePU_s particles that represent the
    function there (Theorem Interval norm; s = 0: Theorem Variation norm, which does not see the
    values at jumps).  A particle
    ``sigma(w . x + b)`` on the ball of radius R has the norm of ``sigma(spread y + offset)``,
    |y| <= 1, with spread = R ||w||_* and offset = b, in any dimension (Theorem Embedding constant).

    Args:
        f: an activation, its name, a scalar JAX function (whose kinks must be declared: pass an
            Activation then), or a measure with one input and one output.
        s: 0 to 4.
        sigma: the activation with which a measure represents its function.
        weight: V; see :func:`jaxbarron.norms.weight_values`.  ``"inhomogeneous"`` gives the norm of
            ``"homogeneous"``, as large multiples of a particle cost that much.
        spread: finite; its sign does not matter to the norm.
        offset: finite.
        interval: its ends; the weight is that of ``jaxbarron.Box`` with these ends.
        level: ``"rigorous"`` encloses both bounds by ball arithmetic; for smooth networks, and for
            single particles of every activation.
        rel_gap: where the search stops.

    Returns:
        The bracket reached, whatever its gap.  Infinite, with the reason, if a derivative of
        order below s jumps inside.

    Raises:
        UsageError: s, the weight, the level or sigma is missing or out of range; at the level
            ``"rigorous"`` a network with kinks, or an interval whose half-width or centre, times
            the spread and the directions, is no float.
        ShapeError: a measure with several inputs or outputs.
        DomainError: an empty or unbounded interval; a spread or an offset that is not finite.
        NonFiniteError: the function or a derivative is not finite on the interval.

    Example:
        >>> found = interval_norm("tanh", 2, level="rigorous")
        >>> round(found.lower, 4), round(found.upper, 4), found.level
        (3.1769, 3.1769, 'rigorous')
    """
    body = GaugeBody(s, weight)
    if level not in ("float", "rigorous"):
        raise UsageError(
            f"given: level={level!r}; expected: 'float' or 'rigorous'; do: use 'rigorous' for a "
            "certificate"
        )
    problem = problem_of(f, sigma, spread, offset, interval)
    if level == "rigorous":
        check_exact(problem, f, spread, offset, interval)
    theorem = theorem_of(s)
    reason = problem.rough(s)
    if reason:
        # a declared jump that is not zero is a fact of the activation
        infinite = math.inf, math.inf
        return Bracket(*infinite, level, theorem, s, weight, reason, problem)
    found, lower, upper = float_bounds(problem, body, rel_gap)
    if level == "rigorous":
        tau, w, b = problem.single()
        facing = -1 if tau is problem.sigma and problem.spreads[0] < 0 else 1
        evidence = evidence_of(tau, body, facing * w, b, found)
        proved = rigorous_bounds(tau, body, w, b, evidence)
        bounds = proved.lower, proved.upper
        return Bracket(*bounds, level, theorem, s, weight, proved.reason, problem, found, evidence)
    return Bracket(lower, upper, level, theorem, s, weight, "", problem, found)


def theorem_of(s: int) -> str:
    """The theorem of THEORY.md that gives the norm in RePU_s on an interval."""
    return "Theorem Interval norm" if s else "Theorem Variation norm"


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
    if weight == "l2" and s % 2:  # the density part is a quadrature
        breaks = np.union1d(breaks, resolving_points())
    planes = _PLANES[0] if rel_gap >= _FEW_DIGITS else _PLANES[1]
    kinks = bool(source.kinks) or source.homogeneity is not None

    def bracket(w: Float[Array, ""], b: Float[Array, ""]) -> IntervalBracket:
        w, b = jnp.asarray(w), jnp.asarray(b)
        dtype = jnp.result_type(w, b, jnp.float32) if w.dtype != b.dtype else w.dtype
        w, b = w.astype(dtype), b.astype(dtype)
        edges = moved_edges(jnp.asarray(breaks, dtype), w, b)
        jets = composed_jets(source.fn, s + 1, w, b)
        fixed = composed_jets(source.fn, s + 1, *jax.lax.stop_gradient((w, b)))
        return interval_bracket(
            body, jets, edges, kinks=kinks, rel_gap=rel_gap, planes=planes, fixed=fixed
        )

    return bracket
