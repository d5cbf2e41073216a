"""Particle measures: evaluation, push-forward and derivatives, under every transformation."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxbarron.activations import activation, registered_activations, repu
from jaxbarron.domains import Ball
from jaxbarron.errors import DomainError, DtypeError, NonFiniteError, ShapeError, UsageError
from jaxbarron.kernels.combinations import combination_kernel
from jaxbarron.kernels.factored import kernel_as_activation
from jaxbarron.kernels.hierarchy import hierarchy_kernel
from jaxbarron.kernels.taylor import taylor_kernel
from jaxbarron.measures import (
    ParticleMeasure,
    add,
    assert_finite,
    derivative,
    evaluate,
    push_forward,
    scale,
    unit_kernel,
)


def random_measure(seed: int = 0, n: int = 7, d: int = 3, m: int = 2, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(seed), 3)
    shapes = [(n, m), (n, d), (n,)]
    a, w, b = (jax.random.normal(k, s, dtype) for k, s in zip(keys, shapes, strict=True))
    return ParticleMeasure(a, w, b)


def random_kernel(seed: int, count: int = 4) -> ParticleMeasure:
    rng = np.random.default_rng(seed)
    return ParticleMeasure(
        rng.normal(size=(count, 1)), rng.normal(size=(count, 1)), rng.normal(size=count)
    )


def by_hand(mu: ParticleMeasure, name: str, x: np.ndarray) -> np.ndarray:
    total = np.zeros((*x.shape[:-1], mu.outputs))
    for a, w, b in zip(
        *(np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(mu)), strict=True
    ):
        z = np.asarray(x, np.float64) @ w + b
        total += np.asarray(activation(name)(jnp.asarray(z)))[..., None] * a
    return total


X = np.random.default_rng(5).normal(size=(11, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "repu(2)", "cos"])
def test_evaluate_by_hand(name: str) -> None:
    mu = random_measure()
    expected = by_hand(mu, name, X)
    assert np.allclose(evaluate(mu, name, X), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 11, 1000])
def test_streamed_evaluation_is_the_same(batch_size: int) -> None:
    mu = random_measure()
    full = evaluate(mu, "tanh", X)
    np.testing.assert_allclose(
        evaluate(mu, "tanh", X, batch_size=batch_size), full, rtol=2e-5, atol=2e-6
    )

    def grad(size):
        return jax.grad(lambda mu: jnp.sum(evaluate(mu, "tanh", X, batch_size=size) ** 2))(mu)

    chex.assert_trees_all_close(grad(batch_size), grad(None), rtol=1e-4, atol=1e-4)


def test_streaming_makes_no_large_array() -> None:
    mu = random_measure(n=512)
    x = jnp.ones((512, 3))
    jaxpr = jax.make_jaxpr(lambda mu, x: evaluate(mu, "tanh", x, batch_size=32))(mu, x)
    full = jax.make_jaxpr(lambda mu, x: evaluate(mu, "tanh", x))(mu, x)
    assert "512,512" in str(full)
    assert "512,512" not in str(jaxpr)


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 5, 3), (0, 3)])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_batch_axes_lead(shape: tuple[int, ...], batch_size: int | None) -> None:
    value = evaluate(random_measure(), "relu", jnp.ones(shape), batch_size=batch_size)
    assert value.shape == (*shape[:-1], 2)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16])
def test_caller_dtype_is_kept(dtype) -> None:
    mu = random_measure(dtype=dtype)
    assert evaluate(mu, "tanh", jnp.ones(3, dtype)).dtype == dtype
    assert push_forward(unit_kernel(), mu).dtype == dtype
    assert kernel_as_activation(random_kernel(0), "relu")(jnp.ones(3, dtype)).dtype == dtype
    assert evaluate(unit_kernel(), "tanh", jnp.ones((2, 1), dtype)).dtype == dtype


def test_double_precision_is_kept(x64) -> None:
    mu = random_measure(dtype=jnp.float64)
    assert evaluate(mu, "tanh", X.astype(np.float64)).dtype == jnp.float64
    np.testing.assert_allclose(
        evaluate(mu, "tanh", X.astype(np.float64)), by_hand(mu, "tanh", X), rtol=1e-13
    )


def test_under_jit_vmap_grad_scan_and_remat() -> None:
    mu = random_measure()
    f = lambda mu, x: evaluate(push_forward(random_kernel(1), mu), "tanh", x)  # noqa: E731
    direct = f(mu, X)
    np.testing.assert_allclose(jax.jit(f)(mu, X), direct, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jax.vmap(f, in_axes=(None, 0))(mu, X), direct, rtol=1e-5, atol=1e-5)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), mu, random_measure(1))
    both = jax.vmap(f, in_axes=(0, None))(stacked, X)
    np.testing.assert_allclose(both[0], direct, rtol=1e-5, atol=1e-5)
    _, scanned = jax.lax.scan(lambda c, x: (c, f(mu, x)), 0, jnp.asarray(X))
    np.testing.assert_allclose(scanned, direct, rtol=1e-5, atol=1e-5)
    gradient = jax.grad(lambda mu: jnp.sum(jax.checkpoint(f)(mu, X)))(mu)
    chex.assert_trees_all_equal_shapes(gradient, mu)
    assert_finite(gradient)


def test_gradient_against_finite_differences(x64) -> None:
    mu = random_measure(dtype=jnp.float64)
    loss = lambda mu: jnp.sum(jnp.sin(evaluate(mu, "tanh", jnp.asarray(X, jnp.float64))))  # noqa: E731
    tangent = random_measure(3, dtype=jnp.float64)
    _, slope = jax.jvp(loss, (mu,), (tangent,))
    h = 1e-6  # near the cube root of the rounding unit: both errors are about 1e-11

    def moved(step):
        return loss(jax.tree.map(lambda p, t: p + step * t, mu, tangent))

    ahead, behind = moved(h), moved(-h)
    assert float(slope) == pytest.approx(float((ahead - behind) / (2 * h)), rel=1e-7)


def test_no_recompilation_in_a_loop() -> None:
    count = 0

    @jax.jit
    def f(mu, x):
        nonlocal count
        count += 1
        return evaluate(mu, "tanh", x)

    for seed in range(4):
        f(random_measure(seed), X)
    assert count == 1


# ------------------------------------------------------------ push-forward


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_composition_is_associative_with_a_unit(seed: int) -> None:
    one, two, three = (random_kernel(seed + i, 2 + i) for i in range(3))
    left = push_forward(push_forward(three, two), one)
    right = push_forward(three, push_forward(two, one))

    def ordered(mu):
        table = np.concatenate([mu.weights, mu.directions, mu.offsets[:, None]], axis=1)
        return table[np.lexsort(np.round(table, 9).T)]

    np.testing.assert_allclose(ordered(left), ordered(right), rtol=1e-12, atol=1e-12)
    for composed in (push_forward(unit_kernel(), one), push_forward(one, unit_kernel())):
        chex.assert_trees_all_equal(composed, one)


def test_two_steps_equal_the_composed_kernel() -> None:
    mu = random_measure()
    first, second = random_kernel(1, 3), random_kernel(2, 5)
    stepwise = push_forward(second, push_forward(first, mu))
    at_once = push_forward(push_forward(second, first), mu)
    np.testing.assert_allclose(
        evaluate(stepwise, "tanh", X), evaluate(at_once, "tanh", X), rtol=1e-4, atol=1e-4
    )


PAIRS = [
    (sigma.name, tau.name)
    for sigma in registered_activations()
    for tau in registered_activations()
    if combination_kernel(sigma, tau, reach=12.0) is not None
]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_flat_and_factored_forms_of_exact_kernels(source: str, target: str) -> None:
    kernel = combination_kernel(source, target, reach=12.0)
    assert kernel is not None
    mu = random_measure(n=5)
    flat = evaluate(push_forward(kernel, mu), target, X)
    factored = evaluate(mu, kernel_as_activation(kernel, target), X)
    original = evaluate(mu, source, X)
    np.testing.assert_allclose(flat, factored, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(factored, original, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(("source", "s"), [("tanh", 1), ("gelu", 2), ("silu", 3), ("sin", 2)])
def test_flat_and_factored_forms_of_taylor_kernels(source: str, s: int) -> None:
    kernel = taylor_kernel(source, s, reach=8.0, nodes=64)
    mu = scale(random_measure(n=3), 0.1)
    flat = evaluate(push_forward(kernel, mu), repu(s), X)
    factored = evaluate(mu, kernel_as_activation(kernel, repu(s)), X)
    np.testing.assert_allclose(flat, factored, rtol=1e-3, atol=1e-3)


def test_factored_form_stores_no_array_of_the_size_of_the_kernel() -> None:
    kernel = hierarchy_kernel(2, 1, reach=5.0, nodes=24)
    factored = kernel_as_activation(kernel, "relu")
    x = jnp.ones((16, 16))
    jaxpr = str(jax.make_jaxpr(factored)(x))
    assert "24" not in [size for shape in _shapes(jaxpr) for size in shape]
    # what the backward pass keeps: z alone
    _, pullback = jax.vjp(factored, x)
    kept = [leaf.size for leaf in jax.tree.leaves(pullback) if hasattr(leaf, "size")]
    assert sum(kept) <= 2 * x.size


def _shapes(jaxpr: str) -> list[list[str]]:
    import re

    return [found.split(",") for found in re.findall(r"f32\[([0-9,]+)\]", jaxpr)]


def test_trainable_kernel_has_gradients() -> None:
    kernel = random_kernel(0, 4).astype(jnp.float32)
    z = jnp.linspace(-2, 2, 9)
    loss = lambda kernel: jnp.sum(kernel_as_activation(kernel, "tanh")(z) ** 2)  # noqa: E731
    gradient = jax.jit(jax.grad(loss))(kernel)
    flat = lambda kernel: jnp.sum(evaluate(kernel, "tanh", z[:, None]) ** 2)  # noqa: E731
    chex.assert_trees_all_close(gradient, jax.grad(flat)(kernel), rtol=1e-4, atol=1e-4)


def test_steep_kernels_do_not_cancel_far_out() -> None:
    # (z+1)_+^3 - 3 z_+^3 + 3 (z-1)_+^3 - (z-2)_+^3 is the constant 6 beyond 2; at z = 3e4 its
    # terms are 3e13, far past what 24 bits resolve
    kernel = ParticleMeasure(
        np.array([[1.0], [-3.0], [3.0], [-1.0]]), np.ones((4, 1)), np.array([1.0, 0.0, -1.0, -2.0])
    )
    value = kernel_as_activation(kernel, repu(3))(jnp.array([-3e4, 3e4, 5.0], jnp.float32))
    np.testing.assert_allclose(value, [0.0, 6.0, 6.0], atol=1e-4)


def test_reach_of_a_kernel_is_respected() -> None:
    mu = random_measure()
    kernel = taylor_kernel("tanh", 1, reach=1.0)
    with pytest.raises(DomainError, match="reach"):
        push_forward(kernel, mu, domain=Ball(10.0), reach=1.0)
    assert push_forward(kernel, mu, domain=Ball(10.0), reach=1e3).particles == 7 * kernel.particles


def test_kernels_lose_no_bit_in_single_precision() -> None:
    kernel = random_kernel(3)
    composed = push_forward(kernel, kernel)
    assert isinstance(composed.weights, np.ndarray)
    assert composed.dtype == np.float64


# ------------------------------------------------- sum, scale, derivative


def test_sum_and_scale() -> None:
    mu, nu = random_measure(0), random_measure(1, n=4)
    expected = 2.5 * evaluate(mu, "relu", X) + evaluate(nu, "relu", X)
    np.testing.assert_allclose(evaluate(2.5 * mu + nu, "relu", X), expected, rtol=1e-4, atol=1e-5)
    assert add(mu, nu).particles == 11
    with pytest.raises(ShapeError, match="same"):
        add(mu, random_measure(1, m=1))
    with pytest.raises(DtypeError, match="one dtype"):
        add(mu, random_measure(1, dtype=jnp.bfloat16))


@pytest.mark.parametrize("name", ["tanh", "gelu", "repu(2)", "repu(3)", "relu", "softplus(2)"])
def test_derivative_is_the_jacobian(name: str) -> None:
    mu = random_measure()
    whole, prime = derivative(mu, name)
    jacobian = jax.vmap(jax.jacobian(lambda x: evaluate(mu, name, x)))(X)
    np.testing.assert_allclose(
        evaluate(whole, prime, X).reshape(11, 2, 3), jacobian, rtol=1e-4, atol=1e-4
    )
    partial, prime = derivative(mu, name, 1)
    np.testing.assert_allclose(evaluate(partial, prime, X), jacobian[..., 1], rtol=1e-4, atol=1e-4)


def test_derivative_of_repu_stays_repu() -> None:
    _, prime = derivative(random_measure(), repu(3), 0)
    assert prime == repu(2)
    with pytest.raises(UsageError, match="Heaviside"):
        derivative(random_measure(), repu(0))
    with pytest.raises(UsageError, match="coordinate"):
        derivative(random_measure(), repu(2), 3)


# -------------------------------------------------------------- bad input


def test_shapes_are_checked() -> None:
    one = np.ones
    for bad in [
        (one(3), one((3, 2)), one(3)),
        (one((3, 1)), one((4, 2)), one(3)),
        (one((3, 1)), one((3, 2)), one((3, 1))),
        (one((0, 1)), one((0, 2)), one(0)),
        (one((3, 0)), one((3, 2)), one(3)),
    ]:
        with pytest.raises(ShapeError, match="expected"):
            ParticleMeasure(*bad)
    with pytest.raises(ShapeError, match="kernel"):
        push_forward(random_measure(), random_measure())
    with pytest.raises(ShapeError, match="last axis"):
        evaluate(random_measure(), "relu", jnp.ones((3, 4)))
    with pytest.raises(ShapeError, match="batch_size"):
        evaluate(random_measure(), "relu", X, batch_size=0)


def test_dtypes_are_checked() -> None:
    with pytest.raises(DtypeError, match="floating"):
        ParticleMeasure(np.ones((1, 1), int), np.ones((1, 1), int), np.ones(1, int))
    with pytest.raises(DtypeError, match="one floating dtype"):
        ParticleMeasure(np.ones((1, 1)), np.ones((1, 1), np.float32), np.ones(1))
    with pytest.raises(DtypeError, match="floating"):
        evaluate(random_measure(), "relu", np.ones((2, 3), int))
    with pytest.raises(DtypeError, match="floating"):
        ParticleMeasure(np.ones((1, 1), complex), np.ones((1, 1), complex), np.ones(1, complex))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_are_checked_outside_and_inside_jit(value: float) -> None:
    with pytest.raises(NonFiniteError, match="weights"):
        ParticleMeasure(np.array([[value]]), np.ones((1, 1)), np.zeros(1))

    @chex.chexify
    @jax.jit
    def inside(b):
        mu = ParticleMeasure(jnp.ones((1, 1)), jnp.ones((1, 1)), b)
        assert_finite(mu)
        return evaluate(mu, "relu", jnp.ones((1, 1)))

    inside(jnp.zeros(1))
    inside.wait_checks()
    inside(jnp.array([value]))
    with pytest.raises(AssertionError):
        inside.wait_checks()


def test_lists_become_arrays() -> None:
    mu = ParticleMeasure([[1.0]], [[2.0]], [0.5])
    assert evaluate(mu, "relu", jnp.ones(1)).tolist() == [2.5]
