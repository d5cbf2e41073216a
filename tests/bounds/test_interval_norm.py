"""The exact norm on an interval against linear programs, closed forms and SciPy's quadrature."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from interval_programs import oracle

from jaxbarron.activations import activation
from jaxbarron.bounds.interval_norm import interval_norm, norm_function
from jaxbarron.domains import Ball
from jaxbarron.errors import (
    DomainError,
    NonFiniteError,
    ShapeError,
    UnreachableTargetError,
    UsageError,
)
from jaxbarron.measures import ParticleMeasure, evaluate
from jaxbarron.norms import norm
from jaxbarron.programs import evaluate_program

# Linear programs over 8,000 particles (THEORY.md, Theorem Interval norm), to the digits shown.
PUBLISHED = [
    ("tanh", 2, 0.5, 1.3755), ("tanh", 2, 1.0, 3.1769), ("tanh", 2, 4.0, 37.330),
    ("gelu", 1, 1.0, 1.8205), ("gelu", 2, 1.0, 1.9931),
]  # fmt: skip


@pytest.mark.parametrize(("name", "s", "spread", "value"), PUBLISHED)
def test_published_values(name: str, s: int, spread: float, value: float) -> None:
    found = interval_norm(name, s, spread=spread)
    assert abs(found.lower / value - 1) < 6e-5
    assert found.gap < 1e-9


@pytest.mark.parametrize(("t", "s", "value"), [(2, 1, 3), (3, 1, 5), (3, 2, 7), (4, 2, 17)])
def test_hierarchy(t: int, s: int, value: float) -> None:
    found = interval_norm(f"repu({t})", s)
    assert found.lower <= value <= found.upper
    assert found.gap < 1e-9


@pytest.mark.parametrize("weight", ["homogeneous", "l2"])
def test_a_particle_of_the_space_costs_its_weight(weight) -> None:
    for w, b in ((2.0, 0.5), (-1.0, 0.3), (1.0, -0.25)):
        found = interval_norm("relu", 1, spread=w, offset=b, weight=weight)
        exact = abs(w) + abs(b) if weight == "homogeneous" else math.hypot(w, b)
        assert found.lower <= exact + 1e-12
        assert found.upper >= exact - 1e-12
        assert found.gap < 1e-9


def test_bias_free_weight_by_the_known_formula() -> None:
    # Savarese, Evron, Soudry, Srebro 2019: max(int |f''|, |f'(-inf) + f'(inf)|), least over
    # extensions of f beyond the interval: max(D, (D + |f'(1) + f'(-1)|)/2).
    second = activation("gelu").derivative(2).program
    slope = activation("gelu").derivative(1).program
    for spread, offset in ((1.0, 0.0), (2.0, 1.5), (0.3, 3.0), (4.0, -1.0)):
        roots = [(z - offset) / spread for z in (-math.sqrt(2), math.sqrt(2))]
        total, _ = scipy.integrate.quad(
            lambda y, w=spread, b=offset: w**2 * abs(float(evaluate_program(second, w * y + b))),
            -1, 1, points=[r for r in roots if abs(r) < 1] or None, epsabs=1e-12,
        )  # fmt: skip
        ends = sum(
            spread * float(evaluate_program(slope, z)) for z in (offset - spread, offset + spread)
        )
        exact = max(total, (total + abs(ends)) / 2)
        found = interval_norm("gelu", 1, spread=spread, offset=offset, weight="bias_free")
        assert found.lower == pytest.approx(exact, rel=1e-10)
        assert found.gap < 1e-9


def test_heaviside_target_is_total_variation() -> None:
    # max(TV, (TV + |f(1) + f(-1)|)/2), Theorem Variation norm
    assert interval_norm("tanh", 0, spread=2.0).lower == pytest.approx(2 * math.tanh(2))
    low, high = (1 / (1 + math.exp(-z)) for z in (1.0, 3.0))
    found = interval_norm("sigmoid", 0, spread=1.0, offset=2.0)
    assert found.upper == pytest.approx((high - low + high + low) / 2, rel=1e-11)
    assert interval_norm("heaviside", 0, spread=3.0, offset=0.5).upper == pytest.approx(1)
    found = interval_norm("cos", 0, spread=2 * math.pi)
    assert found.lower == pytest.approx(8, rel=1e-11)


def test_cancelling_neurons_and_kinks() -> None:
    # what does not cancel is one particle, relu(2 y + 0.4), of weight 2.4
    weights, directions = np.array([[3.0], [-3.0], [1.0]]), np.array([[1.0], [1.0], [2.0]])
    mu = ParticleMeasure(weights, directions, np.array([0.2, 0.2, 0.4]))
    found = interval_norm(mu, 1, sigma="relu")
    assert found.lower <= 2.4 <= found.upper
    assert found.gap < 1e-9
    a, w, b = np.array([1.0, -2.0, 1.5]), np.array([1.0, -1.5, 0.7]), np.array([0.1, 0.3, -0.2])
    mu = ParticleMeasure(a[:, None], w[:, None], b)
    found = interval_norm(mu, 1, sigma="hard_tanh")
    known = oracle(lambda y: np.clip(np.multiply.outer(y, w) + b, -1, 1) @ a, 1, points=61)
    assert found.lower <= known.value + known.error
    assert found.upper >= known.below
    assert found.gap < 1e-9


def test_constants_and_zero() -> None:
    found = interval_norm("gelu", 2, spread=0.0, offset=1.0)
    assert found.lower == pytest.approx(0.8413447460685429, rel=1e-10)  # |sigma(b)|
    assert interval_norm("tanh", 2, spread=0.0).upper == 0


@pytest.mark.usefixtures("x64")
def test_gradient_against_differences() -> None:
    run = jax.jit(jax.value_and_grad(lambda p: norm_function("gelu", 1)(p[0], p[1]).lower))
    step = 1e-5  # the norm is known to 1e-10: an error of 1e-5 in the difference
    for w, b in ((0.7, 0.3), (3.0, -1.0)):
        gradient = np.asarray(run(jnp.array([w, b]))[1])
        for k, move in enumerate(np.eye(2) * step):
            ends = [float(run(jnp.array([w, b]) + side * move)[0]) for side in (1, -1)]
            assert gradient[k] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-4)


def test_single_precision_is_kept_and_true() -> None:
    found = jax.vmap(norm_function("tanh", 1))(
        jnp.float32([0.0, 0.5, 2.0]), jnp.float32([1.0, 0.1, 0.0])
    )
    assert found.lower.dtype == jnp.float32
    for i, (w, b) in enumerate(((0.0, 1.0), (0.5, 0.1), (2.0, 0.0))):
        exact = interval_norm("tanh", 1, spread=w, offset=float(np.float32(b)))
        assert float(found.lower[i]) <= exact.upper * (1 + 1e-4)
        assert float(found.upper[i]) >= exact.lower * (1 - 1e-4)
        assert float(found.upper[i] - found.lower[i]) <= 1e-3 * exact.upper


def test_the_measure_represents_the_function_at_the_cost_of_the_upper_bound() -> None:
    y = np.linspace(-1, 1, 401)[:, None]
    cases = [
        (interval_norm("tanh", 2, spread=-1.3, offset=0.4), np.tanh(0.4 - 1.3 * y)),
        (interval_norm("hard_swish", 1, spread=5.0), 5 * y * np.clip(5 * y + 3, 0, 6) / 6),
    ]
    for found, exact in cases:
        coarse, worse = found.measure(200)
        fine, better = found.measure(1600)
        assert better < worse / 3
        for mu, residual in ((coarse, worse), (fine, better)):
            with jax.enable_x64(True):
                error = np.abs(np.asarray(evaluate(mu, f"repu({found.s})", y)) - exact).max()
                cost = float(norm(mu, Ball(1.0), order=found.s))
            assert error <= residual + 1e-9
            assert cost == pytest.approx(found.upper, rel=1e-9)


def test_other_intervals_are_boxes() -> None:
    # the same function in another variable, centre 1 and half-width 2
    with pytest.raises(UsageError, match="nothing is rounded"):
        interval_norm("tanh", 1, interval=(0.1, 0.7), level="rigorous")
    moved = interval_norm("tanh", 1, spread=0.5, offset=0.25, interval=(-1.0, 3.0))
    assert moved.lower == pytest.approx(interval_norm("tanh", 1, offset=0.75).lower, rel=1e-12)


def test_a_gap_that_cannot_be_met_is_reported() -> None:
    found = interval_norm("tanh", 2, spread=0.3, offset=0.7, rel_gap=1e-300)
    assert 0 < found.gap < 1e-9
    assert found.lower < found.upper


def test_sources_that_are_too_rough() -> None:
    found = interval_norm("relu", 2)
    assert found.lower == found.upper == math.inf
    assert "order 1 jumps at z = 0" in found.reason
    assert math.isfinite(interval_norm("relu", 2, spread=1.0, offset=1.0).upper)
    with pytest.raises(UnreachableTargetError, match="given"):
        norm_function("relu", 2)


def test_bad_input() -> None:
    for interval in ((1.0, 1.0), (1.0, 0.0), (0.0, math.inf)):
        with pytest.raises(DomainError, match="interval"):
            interval_norm("tanh", 1, interval=interval)
    with pytest.raises(UsageError, match="level"):
        interval_norm("tanh", 1, level="proved")  # pyright: ignore[reportArgumentType]
    two = ParticleMeasure(np.ones((1, 1)), np.ones((1, 2)), np.zeros(1))
    with pytest.raises(DomainError, match="given"):
        interval_norm("tanh", 1, spread=math.inf)
    with pytest.raises(UsageError, match="total variation"):
        interval_norm("tanh", 1, weight="total_variation")
    with pytest.raises(UsageError, match="sigma"):
        interval_norm(two, 1)
    with pytest.raises(ShapeError, match="2 inputs"):
        interval_norm(two, 1, sigma="tanh")
    with pytest.raises(NonFiniteError, match="finite"):
        interval_norm(lambda z: jnp.exp(z), 1, offset=1000.0)
