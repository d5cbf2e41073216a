"""Norms with every weight, and merging and pruning."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxbarron.activations import activation, repu
from jaxbarron.domains import Ball, Box
from jaxbarron.errors import ToleranceError, UsageError
from jaxbarron.measures import ParticleMeasure, evaluate
from jaxbarron.norms import compact, merge, norm, prune, weight_values

DOMAINS = [Ball(1.5, 1), Ball(0.7, 2), Ball(2.0, np.inf), Box([-1.0, 0.0, 2.0], [1.0, 3.0, 2.5])]


def random_measure(seed: int, n: int = 9) -> ParticleMeasure:
    rng = np.random.default_rng(seed)
    return ParticleMeasure(
        *(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in [(n, 2), (n, 3), (n,)])
    )


def spread_and_centre(domain, w, b):
    if isinstance(domain, Ball):
        dual = {1: np.inf, 2: 2, np.inf: 1}[domain.ord]
        return domain.radius * np.linalg.norm(w, dual), b
    low, high = np.array(domain.lower), np.array(domain.upper)
    return np.abs(w) @ (high - low) / 2, w @ (high + low) / 2 + b


FORMULAS = {
    "homogeneous": lambda spread, centre, p: (spread + abs(centre)) ** p,
    "inhomogeneous": lambda spread, centre, p: (1 + spread + abs(centre)) ** p,
    "total_variation": lambda spread, centre, p: 1.0,
    "l2": lambda spread, centre, p: (spread**2 + centre**2) ** (p / 2),
    "bias_free": lambda spread, centre, p: spread**p,
}


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("weight", FORMULAS)
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("ord", [1, 2, np.inf])
def test_norm_by_its_formula(domain, weight, order, ord) -> None:
    mu = random_measure(0)
    expected = sum(
        np.linalg.norm(a, ord) * FORMULAS[weight](*spread_and_centre(domain, w, b), order)
        for a, w, b in zip(*map(np.asarray, jax.tree.leaves(mu)), strict=True)
    )
    found = norm(mu, domain, weight=weight, order=order, ord=ord)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert float(jax.jit(lambda mu: norm(mu, domain, weight=weight, order=order, ord=ord))(mu)) == (
        pytest.approx(float(expected), rel=1e-5)
    )


@pytest.mark.parametrize("domain", DOMAINS)
def test_norm_bounds_the_function(domain) -> None:
    mu = random_measure(2)
    rng = np.random.default_rng(3)
    if isinstance(domain, Ball):
        x = rng.normal(size=(500, 3))
        x *= (
            domain.radius
            * rng.uniform(size=(500, 1))
            / np.linalg.norm(x, domain.ord, axis=1, keepdims=True)
        )
    else:
        x = rng.uniform(domain.lower, domain.upper, size=(500, 3))
    for s in (1, 2, 3):
        sizes = np.linalg.norm(evaluate(mu, repu(s), jnp.asarray(x, jnp.float32)), axis=1)
        assert sizes.max() <= float(norm(mu, domain, order=s)) * (1 + 1e-5)


def test_norm_is_differentiable_where_particles_vanish() -> None:
    zero = ParticleMeasure(jnp.zeros((2, 2)), jnp.zeros((2, 3)), jnp.zeros(2))
    for weight in FORMULAS:
        gradient = jax.grad(lambda mu, weight=weight: norm(mu, Ball(1.0), weight=weight))(zero)
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradient))


def test_bad_weights_and_orders() -> None:
    mu = random_measure(0)
    with pytest.raises(UsageError, match="homogeneous"):
        weight_values(mu, Ball(1.0), "no")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="p >= 0"):
        norm(mu, Ball(1.0), order=-1)
    with pytest.raises(UsageError, match="1, 2 or inf"):
        norm(mu, Ball(1.0), ord=3)


# ------------------------------------------------------- merge and prune


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([None, 1, 2, 3]))
def test_merge_keeps_the_function(seed: int, homogeneity: int | None) -> None:
    rng = np.random.default_rng(seed)
    base = random_measure(seed, n=4)
    pick = rng.integers(0, 4, size=12)
    factors = np.ones(12) if homogeneity is None else 2.0 ** rng.integers(-3, 4, size=12)
    mu = ParticleMeasure(
        jnp.asarray(rng.normal(size=(12, 2)), jnp.float32),
        base.directions[pick] * jnp.asarray(factors, jnp.float32)[:, None],
        base.offsets[pick] * jnp.asarray(factors, jnp.float32),
    )
    merged = merge(mu, homogeneity=homogeneity)
    assert merged.particles == 12
    assert compact(merged).particles == len(set(pick.tolist()))
    sigma = activation("tanh") if homogeneity is None else repu(homogeneity)
    x = jnp.asarray(rng.normal(size=(20, 3)), jnp.float32)
    expected = evaluate(mu, sigma, x)
    size = 1 + float(jnp.max(jnp.abs(expected)))
    for found in (
        merged,
        compact(merged),
        jax.jit(lambda m: merge(m, homogeneity=homogeneity))(mu),
    ):
        np.testing.assert_allclose(evaluate(found, sigma, x), expected, atol=2e-5 * size, rtol=1e-4)


def test_merge_by_a_factor_that_is_no_power_of_two() -> None:
    w = np.array([[0.3, -0.7, 0.11]], np.float32)
    factors = np.array([1.0, 3.0, 0.7, 11.3], np.float32)
    mu = ParticleMeasure(
        np.ones((4, 1), np.float32), factors[:, None] * w, factors * np.float32(0.9)
    )
    assert compact(merge(mu, homogeneity=1)).particles == 1


def test_merge_leaves_different_particles_apart() -> None:
    mu = random_measure(1)
    assert compact(merge(mu)).particles == 9
    assert compact(merge(mu, homogeneity=2)).particles == 9
    opposite = ParticleMeasure(np.ones((2, 1)), np.array([[1.0], [-1.0]]), np.zeros(2))
    assert compact(merge(opposite, homogeneity=1)).particles == 2


def test_merge_has_gradients() -> None:
    mu = random_measure(1)
    x = jnp.ones((2, 3))

    def direct(mu):
        return jnp.sum(evaluate(mu, "relu", x))

    def merged(mu):
        return jnp.sum(evaluate(merge(mu, homogeneity=1), "relu", x))

    for a, b in zip(
        jax.tree.leaves(jax.grad(direct)(mu)), jax.tree.leaves(jax.grad(merged)(mu)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "softplus", "repu(2)", "arctan", "selu"])
@pytest.mark.parametrize("domain", DOMAINS)
def test_prune_changes_no_more_than_it_says(name: str, domain) -> None:
    mu = random_measure(4, n=40)
    mu = ParticleMeasure(
        mu.weights * 10.0 ** -jnp.linspace(0, 6, 40)[:, None], *jax.tree.leaves(mu)[1:]
    )
    kept, change = prune(mu, name, domain, bound=0.05)
    assert 0 < float(change) <= 0.05
    assert 1 <= compact(kept).particles < 40
    rng = np.random.default_rng(0)
    if isinstance(domain, Ball):
        x = rng.normal(size=(500, 3))
        x *= domain.radius / np.linalg.norm(x, domain.ord, axis=1, keepdims=True)
    else:
        x = rng.uniform(domain.lower, domain.upper, size=(500, 3))
    x = jnp.asarray(x, jnp.float32)
    gap = jnp.linalg.norm(evaluate(kept, name, x) - evaluate(mu, name, x), axis=1)
    # rounding of a sum of 40 terms of the function's size
    assert float(jnp.max(gap)) <= float(change) + 1e-4


def test_prune_nothing_and_everything() -> None:
    mu = random_measure(4)
    kept, change = prune(mu, "relu", Ball(1.0), bound=0.0)
    assert float(change) == 0.0
    assert compact(kept).particles == 9
    kept, _ = prune(mu, "relu", Ball(1.0), bound=1e9)
    assert compact(kept).particles == 1
    assert np.all(np.asarray(kept.weights) == 0)


def test_prune_under_jit_and_bad_bounds() -> None:
    mu = random_measure(4)
    kept, _ = jax.jit(lambda mu, bound: prune(mu, "relu", Ball(1.0), bound))(mu, 0.5)
    assert kept.particles == 9
    for bound in (-1.0, np.nan, np.inf):
        with pytest.raises(ToleranceError, match="finite number >= 0"):
            prune(mu, "relu", Ball(1.0), bound)
    with pytest.raises(UsageError, match="growth"):
        prune(mu, activation(lambda z: z**5, name="fifth"), Ball(1.0), 0.1)
    with pytest.raises(UsageError, match="outside jit"):
        jax.jit(compact)(mu)
