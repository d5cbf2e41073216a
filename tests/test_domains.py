"""Reach on balls and boxes, held against the largest |w . x + b| found on the domain."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from jaxbarron.domains import Ball, Box
from jaxbarron.errors import DomainError, ShapeError, UsageError


@pytest.mark.parametrize("ord", [1, 2, np.inf])
def test_ball_reach_is_attained_and_never_exceeded(ord: float) -> None:
    rng = np.random.default_rng(0)
    ball = Ball(1.7, ord)
    for _ in range(20):
        w, b = rng.normal(size=5), rng.normal()
        points = rng.normal(size=(2000, 5))
        points *= 1.7 / np.linalg.norm(points, ord, axis=1, keepdims=True)
        reach = float(ball.reach(jnp.asarray(w, jnp.float32), jnp.float32(b)))
        assert np.max(np.abs(points @ w + b)) <= reach * (1 + 1e-6)
        dual = {1: np.inf, 2: 2, np.inf: 1}[ord]
        assert reach == pytest.approx(1.7 * np.linalg.norm(w, dual) + abs(b), rel=1e-6)


def test_box_reach_against_linear_programs() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        low = rng.normal(size=4)
        high = low + rng.exponential(size=4)
        w, b = rng.normal(size=4), rng.normal()
        box = Box(low, high)
        bounds = list(zip(low, high, strict=True))
        most = max(abs(sign * linprog(sign * w, bounds=bounds).fun + b) for sign in (1.0, -1.0))
        reach = float(box.reach(jnp.asarray(w, jnp.float32), jnp.float32(b)))
        assert reach == pytest.approx(most, rel=1e-5)


@pytest.mark.parametrize("ord", [1, 2, np.inf])
def test_reach_is_differentiable_even_at_the_zero_particle(ord: float) -> None:
    slope = jax.grad(lambda w: Ball(2.0, ord).reach(w, jnp.float32(0.0)))(jnp.zeros(3))
    assert np.all(np.isfinite(slope))


def test_euclidean_reach_does_not_underflow() -> None:
    w = jnp.full(4, 1e-30, jnp.float32)
    assert float(Ball(1.0).spread(w)) == pytest.approx(2e-30, rel=1e-6)


@pytest.mark.parametrize("radius", [0.0, -1.0, np.nan, np.inf])
def test_bad_radius(radius: float) -> None:
    with pytest.raises(DomainError, match="radius > 0"):
        Ball(radius)


def test_bad_ord_and_boxes() -> None:
    with pytest.raises(UsageError, match="1, 2 or inf"):
        Ball(1.0, 3)
    with pytest.raises(DomainError, match="lower <= upper"):
        Box([1.0], [0.0])
    with pytest.raises(DomainError, match="unbounded"):
        Box([0.0], [np.inf])
    with pytest.raises(ShapeError, match="one length"):
        Box([0.0, 1.0], [1.0])
    with pytest.raises(ShapeError, match="dimension"):
        Box([0.0], [1.0]).reach(jnp.ones(2), jnp.float32(0))
