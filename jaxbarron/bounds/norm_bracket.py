"""The Barron norm of the function that a measure represents on a ball or a box, between bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.activations import Activation, activation
from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_float import float_bounds
from jaxbarron.bounds.interval_norm import Bracket, interval_norm
from jaxbarron.bounds.interval_problem import Problem
from jaxbarron.domains import Ball, Domain
from jaxbarron.errors import ShapeError, UnreachableTargetError, UsageError
from jaxbarron.measures import ParticleMeasure
from jaxbarron.norms import Weight

__all__ = ["NormBracket", "norm_bracket"]

_PARALLEL = 1e-12  # directions of length 1 that agree so far share a line
_REL_GAP = 1e-10


@dataclass(frozen=True, eq=False)
class NormBracket:
    """``lower <= ||f|| <= upper`` in the space of RePU_s on the domain.

    Attributes:
        lower: the largest norm of f on a chord through the centre.
        upper: the sum of the exact norms of the functions of each line.
        level: ``"float"``.
        theorem: of THEORY.md.
        chord: the end x - centre of the best chord, shape (d,).
        lines: the directions u, of spread 1, one for each group of parallel particles.
        line_brackets: ``(lower, upper)`` of each group's function.
        exact: the bracket in one dimension; None in more.
    """

    lower: float
    upper: float
    level: Literal["float"]
    theorem: str
    chord: np.ndarray
    lines: np.ndarray
    line_brackets: tuple[tuple[float, float], ...]
    exact: Bracket | None = None

    @property
    def gap(self) -> float:
        """``(upper - lower) / upper``; 0 where both are equal."""
        return 0.0 if self.lower == self.upper else (self.upper - self.lower) / self.upper


def norm_bracket(
    mu: ParticleMeasure,
    sigma: str | Activation,
    *,
    target: str | Activation = "relu",
    domain: Domain | None = None,
    weight: Weight = "homogeneous",
    chords: int = 16,
    seed: int = 0,
) -> NormBracket:
    """Bounds of the norm of ``f(x) = sum_i a_i sigma(w_i . x + b_i)`` in the space of RePU_s.

    In one dimension the exact norm.  In more, the lower bound is the exact norm of f on a chord
    through the centre, the best of those along the particles, of their sum and of random ones; the
    upper bound is the sum over lines of the exact norm of the function of all particles parallel to
    it, which may cancel (Theorem Line norms).  Both agree for one line.

    Args:
        mu: n particles in dimension d, one output.
        sigma: the activation that mu is for.
        target: RePU_s, s from 1 to 4 (s = 0 in one dimension).
        domain: a Ball (default: the unit ball) or a Box.
        weight: V, of degree s.
        chords: how many random chords are tried.
        seed: of the random chords.

    Raises:
        ShapeError: several outputs: a norm of vectors lies between the largest and the sum of the
            norms of the outputs, each of which can be asked for.
        UnreachableTargetError: the target is no RePU_s.
        UsageError: s = 0 in more than one dimension, or the weight.

    Example:
        >>> mu = ParticleMeasure(np.ones((2, 1)), np.array([[1.0, 0.0], [-1.0, 0.0]]), np.zeros(2))
        >>> found = norm_bracket(mu, "relu", chords=0)
        >>> round(found.lower, 6), round(found.upper, 6)  # |x_1| costs two particles
        (2.0, 2.0)
    """
    source, tau = activation(sigma), activation(target)
    domain = Ball(1.0) if domain is None else domain
    if tau.homogeneity is None:
        raise UnreachableTargetError(
            f"given: the target {tau.name}; expected: RePU_s: its norm is exact on a line; do: "
            "push the measure forward and take jaxbarron.norm for an upper bound"
        )
    s, body = tau.homogeneity, GaugeBody(tau.homogeneity, weight)
    if mu.outputs != 1:
        raise ShapeError(
            f"given: a measure with {mu.outputs} outputs; expected: one; do: bracket each output: "
            "the norm lies between the largest and the sum of theirs"
        )
    if s == 0 and mu.inputs > 1:
        raise UsageError(
            f"given: the Heaviside target in dimension {mu.inputs}; expected: dimension 1, or "
            "s >= 1; do: use target='relu'"
        )
    w, a = np.asarray(mu.directions, np.float64), np.asarray(mu.weights, np.float64)[:, 0]
    with jax.enable_x64(True):
        directions, offsets = jnp.asarray(w), jnp.asarray(np.asarray(mu.offsets, np.float64))
        centre = np.asarray(domain.centre_value(directions, offsets))
        spread = np.asarray(domain.spread(directions))
    theorem = "Theorem Interval norm" if mu.inputs == 1 else "Theorem Line norms"
    if mu.inputs == 1:
        reach = float(_farthest(domain, np.ones(1))[0])
        one = ParticleMeasure(a[:, None], w * reach, centre)
        found = interval_norm(one, s, sigma=source, weight=weight)
        line = ((found.lower, found.upper),)
        ends = np.full((1,), reach), np.full((1, 1), 1 / reach if reach else 0.0)
        return NormBracket(found.lower, found.upper, "float", theorem, *ends, line, found)
    lines, members = _lines(w, spread)
    problems = [Problem(source, a[group], factors, centre[group]) for group, factors in members]
    ends = _chords(domain, lines, a, w, chords, seed)
    problems += [Problem(source, a, w @ end, centre) for end in ends]
    bounds = [_bounds(problem, body) for problem in problems]
    upper = sum(high for _, high in bounds[: len(lines)])
    best = max(range(len(ends)), key=lambda i: bounds[len(lines) + i][0])
    lower = bounds[len(lines) + best][0]
    return NormBracket(
        lower, upper, "float", theorem, ends[best], lines, tuple(bounds[: len(lines)])
    )


def _lines(
    w: np.ndarray, spread: np.ndarray
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Directions of spread 1, and for each the particles on its line with their factors.

    Constant particles join the first line.
    """
    used = np.flatnonzero(spread > 0)
    if not used.size:
        u = np.zeros((1, w.shape[1]))
        return u, [(np.arange(w.shape[0]), np.zeros(w.shape[0]))]
    unit = w[used] / spread[used, None]
    lead = np.take_along_axis(unit, np.argmax(np.abs(unit), axis=1)[:, None], axis=1)
    sign = np.sign(lead[:, 0])
    lines, members = list[np.ndarray](), list[list[tuple[int, float]]]()
    for i, u, side in zip(used, unit * sign[:, None], sign, strict=True):
        at = next((k for k, v in enumerate(lines) if np.abs(u - v).max() < _PARALLEL), None)
        if at is None:
            at = len(lines)
            lines.append(u)
            members.append([])
        members[at].append((int(i), float(side * spread[i])))
    members[0] += [(int(i), 0.0) for i in np.flatnonzero(spread == 0)]
    groups = [(np.array([i for i, _ in m]), np.array([v for _, v in m])) for m in members]
    return np.stack(lines), groups


def _chords(
    domain: Domain, lines: np.ndarray, a: np.ndarray, w: np.ndarray, count: int, seed: int
) -> list[np.ndarray]:
    """Points x with centre + x on the boundary of the domain."""
    rng = np.random.default_rng(seed)
    directions = [*lines, a @ w, np.abs(a) @ w, *rng.normal(size=(count, w.shape[1]))]
    return [_farthest(domain, u) for u in directions]


def _farthest(domain: Domain, u: np.ndarray) -> np.ndarray:
    """The x with centre + x in the domain and u . x largest."""
    if not np.any(u):
        return np.zeros_like(u)
    if not isinstance(domain, Ball):
        return np.where(u < 0, -1, 1) * (np.array(domain.upper) - np.array(domain.lower)) / 2
    if domain.ord == np.inf:
        return domain.radius * np.where(u < 0, -1.0, 1.0)
    if domain.ord == 1:
        x = np.zeros_like(u)
        x[np.argmax(np.abs(u))] = domain.radius * np.sign(u[np.argmax(np.abs(u))])
        return x
    scaled = u / np.abs(u).max()
    return domain.radius * scaled / np.linalg.norm(scaled)


def _bounds(problem: Problem, body: GaugeBody) -> tuple[float, float]:
    return (np.inf, np.inf) if problem.rough(body.s) else float_bounds(problem, body, _REL_GAP)[1:]
