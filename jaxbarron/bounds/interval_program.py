"""A small convex program by an interior-point method, as a pure JAX function.

    maximise  <B, M> - <M, P M>/2 - sum_i |<a_i, M>|/2     over M with |<q_j, M>| <= W_j.

Its dual variables c_j and v_i, |v_i| <= 1/2, satisfy ``B = P M + sum c_j q_j + sum v_i a_i`` up to
the residual that is left.  M stays strictly feasible throughout.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["Solution", "solve_program"]

_ITERATIONS = 40
_BACK = 0.99  # of the way to the boundary
_DONE = 4  # units of rounding at which nothing is left to gain
_WORSE = 1e3  # rounding has taken over once an iterate is worse than the best by this


class Solution(NamedTuple):
    """A strictly feasible M, and the dual variables."""

    moments: Float[Array, " k"]
    particles: Float[Array, " n"]
    shares: Float[Array, " c"]


class _State(NamedTuple):
    moments: Any
    slack: Any  # (2, n): W - <q, M>, W + <q, M>
    prices: Any  # (2, n): their multipliers
    gaps: Any  # (2, c): e_i - <a_i, M>, e_i + <a_i, M>, for a bound e_i of the modulus
    shares: Any  # (2, c): their multipliers, of sum 1/2
    mean: Any
    residual: Any  # of the equation for B, its largest entry


class _Search(NamedTuple):
    state: _State
    best: _State
    count: Any


def solve_program(
    linear: Float[Array, " k"],
    quadratic: Float[Array, "k k"] | None,
    constraints: Float[Array, "n k"],
    limits: Float[Array, " n"],
    moduli: Float[Array, "c k"],
    accuracy: Any = 0.0,
) -> Solution:
    """The program's solution to about the rounding unit, for data of size about 1.

    Args:
        linear: B.
        quadratic: P, symmetric and positive semidefinite; None is 0.
        constraints: the q_j, which span the space.
        limits: the W_j > 0.
        moduli: the a_i.
        accuracy: stop once both objectives, and the equation for B, agree so far; no less than
            four units of rounding.

    Returns:
        The best M found; mean complementarity falls by a factor at each of at most 40 steps.

    Example:
        >>> one = jnp.ones((1, 1))
        >>> found = solve_program(2 * jnp.ones(1), 0 * one, one, jnp.ones(1), 2 * one)
        >>> round(float(found.moments[0]), 3)  # 2 M - |M| is largest at M = 1
        1.0
    """
    dtype, eps = linear.dtype, jnp.finfo(linear.dtype).eps
    n, c = constraints.shape[0], moduli.shape[0]
    start = _State(
        jnp.zeros_like(linear),
        jnp.stack([limits, limits]),
        1 / jnp.stack([limits, limits]),
        jnp.full((2, c), 4, dtype),
        jnp.full((2, c), 0.25, dtype),
        jnp.ones((), dtype),
        jnp.max(jnp.abs(linear)),
    )
    signs = jnp.asarray([[1.0], [-1.0]], dtype)

    def residual_of(moments: Any, prices: Any, shares: Any) -> Any:
        dual = (prices[0] - prices[1]) @ constraints + (shares[0] - shares[1]) @ moduli
        return linear - dual if quadratic is None else linear - quadratic @ moments - dual

    def normal(state: _State) -> Any:
        """The inverse of the matrix of the Newton equations for M."""
        theta, both = state.shares / state.gaps, jnp.sum(state.shares / state.gaps, axis=0)
        theta_c = jnp.sum(state.prices / state.slack, axis=0)
        matrix = (constraints.T * theta_c) @ constraints
        matrix += (moduli.T * (4 * theta[0] * theta[1] / both)) @ moduli
        return _inverse(matrix if quadratic is None else matrix + quadratic)

    def direction(state: _State, inverse: Any, at_prices: Any, at_shares: Any) -> Any:
        """The Newton step for given right sides of the complementarity equations."""
        theta = state.shares / state.gaps
        both = jnp.sum(theta, axis=0)
        rho_c = at_prices / state.slack
        rho = at_shares / state.gaps
        right = (
            residual_of(state.moments, state.prices, state.shares)
            - (rho_c[0] - rho_c[1]) @ constraints
            - (2 * (rho[0] * theta[1] - rho[1] * theta[0]) / both) @ moduli
        )
        moments = inverse(right)
        moved = constraints @ moments
        slack = -signs * moved
        prices = rho_c - state.prices / state.slack * slack
        x = moduli @ moments
        # written out so that neither a small gap nor the sum 1/2 of two shares is lost to rounding
        gaps = (rho[0] + rho[1] - 2 * signs * theta[::-1] * x) / both
        share = (rho[0] * theta[1] - rho[1] * theta[0] + 2 * theta[0] * theta[1] * x) / both
        return moments, slack, prices, gaps, signs * share

    def longest(state: _State, step: Any) -> Any:
        values = jnp.concatenate([jnp.ravel(v) for v in state[1:5]])
        moves = jnp.concatenate([jnp.ravel(v) for v in step[1:]])
        down = moves < 0
        return jnp.minimum(
            1, jnp.min(jnp.where(down, -values / jnp.where(down, moves, 1), jnp.inf))
        )

    def mean_of(slack: Any, prices: Any, gaps: Any, shares: Any) -> Any:
        return (jnp.sum(slack * prices) + jnp.sum(gaps * shares)) / (2 * (n + c))

    def left(state: _State) -> Any:
        """How far from a solution: the gap between both objectives, and the residual."""
        return jnp.maximum(state.mean * (n + c), state.residual)

    def body(search: _Search) -> _Search:
        state = search.state
        inverse = normal(state)
        step = direction(state, inverse, -state.slack * state.prices, -state.gaps * state.shares)
        alpha = longest(state, step)
        after = mean_of(*(v + alpha * d for v, d in zip(state[1:5], step[1:], strict=True)))
        target = state.mean * (after / state.mean) ** 3
        step = direction(
            state,
            inverse,
            target - state.slack * state.prices - step[1] * step[2],
            target - state.gaps * state.shares - step[3] * step[4],
        )
        alpha = jnp.minimum(1, _BACK * longest(state, step))
        moved = [v + alpha * d for v, d in zip(state[:5], step, strict=True)]
        small = jnp.min(moved[4], axis=0)
        moved[4] = jnp.where(moved[4] == small, small, 0.5 - small)
        residual = jnp.max(jnp.abs(residual_of(moved[0], moved[2], moved[4])))
        moments, slack, prices, gaps, shares = moved
        mean = mean_of(slack, prices, gaps, shares)
        new = _State(moments, slack, prices, gaps, shares, mean, residual)
        positive = jnp.asarray([jnp.all(v > 0) for v in new[1:5]])  # false for NaN as well
        good = (
            jnp.all(positive) & jnp.isfinite(left(new)) & (left(new) < _WORSE * left(search.best))
        )
        closer = good & (left(new) < left(search.best))
        best = jax.tree.map(lambda a, b: jnp.where(closer, a, b), new, search.best)
        state = jax.tree.map(lambda a, b: jnp.where(good, a, b), new, state)
        return _Search(state, best, jnp.where(good, search.count + 1, _ITERATIONS))

    def going(search: _Search) -> Any:
        return (search.count < _ITERATIONS) & (
            left(search.best) > jnp.maximum(_DONE * eps, accuracy)
        )

    end = jax.lax.while_loop(going, body, _Search(start, start, jnp.zeros((), jnp.int32))).best
    return Solution(end.moments, end.prices[0] - end.prices[1], end.shares[0] - end.shares[1])


def _inverse(matrix: Any) -> Any:
    """The map right -> matrix^-1 right, for a symmetric positive definite matrix of size 5 at most.

    Elimination written out: a library call for each of thousands of 5 x 5 matrices would cost more
    than the arithmetic.
    """
    size = matrix.shape[0]
    eps, tiny = jnp.finfo(matrix.dtype).eps, jnp.finfo(matrix.dtype).tiny
    scale = jax.lax.rsqrt(jnp.maximum(jnp.diagonal(matrix), tiny))
    rows = matrix * scale[:, None] * scale
    lower = jnp.eye(size, dtype=matrix.dtype)
    for i in range(size):
        factors = rows[:, i] / jnp.maximum(rows[i, i], eps) * (jnp.arange(size) > i)
        rows = rows - factors[:, None] * rows[i]
        lower = lower - factors[:, None] * lower[i]
    pivots = jnp.maximum(jnp.diagonal(rows), eps)
    return lambda right: scale * (lower.T @ (lower @ (scale * right) / pivots))
