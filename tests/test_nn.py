"""The layers for training: they are measures and kernels, and stay so under nnx, JAX and optax."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxbarron as jb
from jaxbarron.errors import (
    DtypeError,
    NonFiniteError,
    ShapeError,
    UnknownActivationError,
    UsageError,
)
from jaxbarron.nn import KernelActivation, KernelDirection, ParticleLayer, barron_penalty

X = jnp.asarray(np.random.default_rng(0).normal(size=(32, 3)), jnp.float32)


def layer(sigma="gelu", seed=0, **options):
    return ParticleLayer(3, 8, 2, sigma, rngs=nnx.Rngs(seed), **options)


def measure(dtype, seed=1):
    draw = np.random.default_rng(seed).normal
    arrays = draw(size=(5, 2)), draw(size=(5, 3)), draw(size=5)
    if dtype == "numpy":
        return jb.ParticleMeasure(*arrays)
    return jb.ParticleMeasure(*(jnp.asarray(x, dtype) for x in arrays))


def function_by_numpy(mu, sigma, x):
    """In NumPy doubles, one particle after the other."""
    a, w, b = (np.asarray(leaf, np.float64) for leaf in (mu.weights, mu.directions, mu.offsets))
    total = np.zeros((len(x), a.shape[1]))
    for i in range(len(b)):
        total += np.outer(sigma(np.asarray(x, np.float64) @ w[i] + b[i]), a[i])
    return total


def norm_by_numpy(mu, s):
    """On the unit l2 ball: rho = ||w||_2 + |b|; V = rho^s for RePU_s, else 1 + rho."""
    a, w, b = (np.asarray(leaf, np.float64) for leaf in (mu.weights, mu.directions, mu.offsets))
    rho = np.linalg.norm(w, axis=-1) + np.abs(b)
    return float(np.sum(np.linalg.norm(a, axis=-1) * (1 + rho if s is None else rho**s)))


def test_importing_the_library_does_not_import_flax():
    code = "import sys, jaxbarron; sys.exit('flax' in sys.modules or 'optax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ------------------------------------------------------------------ ParticleLayer


def test_a_layer_is_the_function_of_its_measure():
    made = layer("relu")
    expected = function_by_numpy(made.to_measure(), lambda z: np.maximum(z, 0), X)
    np.testing.assert_allclose(made(X), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(made(X, batch_size=3), expected, rtol=1e-5, atol=1e-6)
    assert made(X[0]).shape == (2,)
    assert made(jnp.ones((4, 5, 3))).shape == (4, 5, 2)


@pytest.mark.parametrize("dtype", ["numpy", "float32", "bfloat16", "float16"])
def test_measure_to_layer_and_back_is_bit_exact(dtype):
    mu = measure(dtype)
    made = ParticleLayer.from_measure(mu, "tanh")
    for model in (made, nnx.clone(made), nnx.merge(*nnx.split(made))):
        back = model.to_measure()
        for name in ("weights", "directions", "offsets"):
            given, got = getattr(mu, name), getattr(back, name)
            assert given.dtype == got.dtype
            assert np.asarray(given).tobytes() == np.asarray(got).tobytes()


def test_double_precision_is_kept(x64):
    made = layer("tanh", param_dtype=jnp.float64)
    x = np.asarray(X, np.float64)
    assert made(x).dtype == jnp.float64
    np.testing.assert_allclose(
        made(x), function_by_numpy(made.to_measure(), np.tanh, x), rtol=1e-13, atol=1e-14
    )
    assert ParticleLayer.from_measure(measure("numpy"), "tanh")(x).dtype == jnp.float64


def test_the_start_is_random_by_its_key_alone():
    same = [np.asarray(x) for x in jax.tree.leaves(layer().to_measure())]
    for a, b in zip(same, jax.tree.leaves(layer().to_measure()), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(same[0], layer(seed=1).to_measure().weights)
    wide = ParticleLayer(50, 4000, 3, rngs=nnx.Rngs(0)).to_measure()
    assert float(jnp.var(wide.directions)) == pytest.approx(1 / 50, rel=0.05)
    assert float(jnp.var(wide.weights)) == pytest.approx(1 / 4000, rel=0.05)
    assert float(jnp.var(wide.offsets)) == pytest.approx(1 / 3, rel=0.05)
    assert float(jnp.min(wide.offsets)) >= -1


@pytest.mark.parametrize(
    ("sigma", "s"), [("relu", 1), (jb.repu(2), 2), (jb.repu(3), 3), ("gelu", None)]
)
def test_the_norm_has_the_weight_of_the_activation(sigma, s):
    made = layer(sigma)
    want = norm_by_numpy(made.to_measure(), s)
    assert float(made.norm(jb.Ball(1.0))) == pytest.approx(want, rel=1e-5)
    assert float(barron_penalty(made, jb.Ball(1.0))) == pytest.approx(want, rel=1e-5)
    mass = float(made.norm(jb.Ball(1.0), weight="total_variation"))
    weights = np.asarray(made.to_measure().weights)
    assert mass == pytest.approx(np.linalg.norm(weights, axis=1).sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: ParticleLayer(0, 4, 1, rngs=nnx.Rngs(0)), ShapeError),
        (lambda: ParticleLayer(2, -1, 1, rngs=nnx.Rngs(0)), ShapeError),
        (lambda: ParticleLayer(2, 4, 1, "rello", rngs=nnx.Rngs(0)), UnknownActivationError),
        (lambda: ParticleLayer(2, 4, 1, rngs=nnx.Rngs(0), param_dtype=int), DtypeError),
        (lambda: layer()(jnp.ones((4, 2))), ShapeError),
        (lambda: layer()(jnp.ones((4, 3), int)), DtypeError),
        (lambda: layer().norm(jb.Ball(1.0), weight="heavy"), UsageError),
        (lambda: barron_penalty(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), jb.Ball(1.0)), UsageError),
        (lambda: barron_penalty({"a": 1}, jb.Ball(1.0)), UsageError),
        (lambda: barron_penalty(layer(), jb.Box((0.0,), (1.0,))), ShapeError),
        (lambda: KernelActivation("gelu"), UsageError),
        (lambda: KernelActivation("gello", tol=1e-2), UnknownActivationError),
        (lambda: KernelActivation("gelu", tol=1e-2, param_dtype=int), DtypeError),
        (lambda: KernelActivation(measure("numpy")), ShapeError),
        (lambda: KernelActivation(jb.unit_kernel(), tol=1e-2), UsageError),
        (lambda: KernelActivation(jb.unit_kernel())(jnp.ones(3, int)), DtypeError),
    ],
)
def test_bad_input_is_a_typed_error(make, error):
    with pytest.raises(error, match=r"given: .*; expected: .*; do: "):
        make()


def test_a_layer_that_training_broke_gives_no_measure():
    made = layer()
    made.weights[...] = made.weights[...].at[0].set(jnp.nan)
    with pytest.raises(NonFiniteError):
        made.to_measure()


# ------------------------------------------------------------------ the penalty


class Deep(nnx.Module):
    def __init__(self, rngs):
        self.first = ParticleLayer(3, 8, 4, "relu", rngs=rngs)
        self.norm = nnx.LayerNorm(4, rngs=rngs)
        self.blocks = nnx.List([ParticleLayer(4, 6, 4, "gelu", rngs=rngs) for _ in range(2)])
        self.again = self.first


def test_the_penalty_of_a_model_is_the_sum_and_a_shared_layer_counts_once():
    model = Deep(nnx.Rngs(0))
    want = norm_by_numpy(model.first.to_measure(), 1)
    want += sum(norm_by_numpy(block.to_measure(), None) for block in model.blocks)
    penalty = nnx.jit(lambda model: barron_penalty(model, jb.Ball(1.0)))
    assert float(penalty(model)) == pytest.approx(want, rel=1e-5)


def test_the_penalty_of_a_measure_is_its_norm():
    mu = measure("float32")
    ball = jb.Ball(2.0, ord=1)
    for weight, order in (("homogeneous", 2), ("l2", 1), ("bias_free", 1)):
        got = barron_penalty(mu, ball, weight=weight, order=order)
        assert got == jb.norm(mu, ball, weight=weight, order=order)
    assert barron_penalty(mu, ball) == jb.norm(mu, ball)


@pytest.mark.parametrize("sigma", ["gelu", jb.repu(2)])
def test_the_gradient_of_the_penalty_by_finite_differences(sigma, x64):
    model = layer(sigma, param_dtype=jnp.float64)
    graph, state = nnx.split(model)

    def penalty(state):
        return barron_penalty(nnx.merge(graph, state), jb.Ball(1.5))

    slopes = jax.jit(jax.grad(penalty))(state)
    direction = jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size)).reshape(x.shape), state)
    step = 1e-6  # the error is about step^2 times a third derivative, rounding eps/step
    moved = [jax.tree.map(lambda x, v, t=t: x + t * v, state, direction) for t in (-step, step)]
    want = (penalty(moved[1]) - penalty(moved[0])) / (2 * step)
    got = sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), slopes, direction)))
    assert float(got) == pytest.approx(float(want), rel=1e-7)


def test_the_gradient_is_finite_where_a_particle_is_zero():
    zero = jb.ParticleMeasure(jnp.zeros((2, 1)), jnp.zeros((2, 3)), jnp.zeros(2))
    for weight in ("homogeneous", "l2"):
        slopes = jax.jit(jax.grad(lambda m, w=weight: barron_penalty(m, jb.Ball(1.0), weight=w)))(
            zero
        )
        assert all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(slopes))


def test_a_stack_of_layers_has_the_sum_of_the_norms():
    @nnx.vmap
    def stack(rngs):
        return ParticleLayer(3, 4, 3, "tanh", rngs=rngs)

    stacked = stack(nnx.Rngs(0).split(5))
    graph, state = nnx.split(stacked)
    each = [nnx.merge(graph, jax.tree.map(lambda x, i=i: x[i], state)) for i in range(5)]
    want = sum(norm_by_numpy(one.to_measure(), None) for one in each)
    assert float(barron_penalty(stacked, jb.Ball(1.0))) == pytest.approx(want, rel=1e-5)
    with pytest.raises(ShapeError):
        stacked.to_measure()

    @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
    def run(x, one):
        return x + one(x)

    expected = X
    for one in each:
        expected = expected + one(expected)
    np.testing.assert_allclose(run(X, stacked), expected, rtol=1e-5, atol=1e-5)
    outputs = nnx.vmap(lambda one, x: one(x), in_axes=(0, None))(stacked, X)
    np.testing.assert_allclose(outputs[3], each[3](X), rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------ KernelActivation


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("source", "s", "size"),
    [("gelu", 1, 1e4), ("gelu", 2, 1e4), ("silu", 2, 1e4), ("tanh", 3, 1e4), ("gelu", 3, 10.0)],
)
def test_the_start_is_the_certified_kernel(source, s, size, compiled):
    kernel, certificate = jb.certified_kernel(source, jb.repu(s), tol=1e-3)
    module = KernelActivation(source, jb.repu(s), tol=1e-3)
    near, far = np.linspace(-10, 10, 4001), np.geomspace(10, max(size, 10), 200)
    z = np.concatenate([-far[::-1], near, far]).astype(np.float32)
    got = np.asarray((nnx.jit(lambda m, z: m(z)) if compiled else module)(
        *((module, z) if compiled else (z,))
    ), np.float64)  # fmt: skip
    exact = function_by_numpy(
        kernel, lambda y: np.maximum(y, 0) ** s, z[:, None].astype(np.float64)
    )[:, 0]
    # the doubles of the oracle cancel too: |z|^s eps; so they serve near the knots only
    inner = np.abs(z) <= 10
    scale = 1 + np.abs(z[inner])
    assert np.max(np.abs(got - exact)[inner] / scale) < 2e-5
    # far out the certificate is the oracle, with the activation in double precision
    with jax.enable_x64(True):
        sigma = np.asarray(jb.activation(source)(jnp.asarray(z, jnp.float64)))
    assert np.all(np.abs(got - sigma) <= certificate.upper + 2e-5 * (1 + np.abs(z)))


def test_a_kernel_of_your_own_is_kept_bit_for_bit():
    kernel, _ = jb.certified_kernel("silu", "relu", tol=1e-2)
    back = KernelActivation(kernel, "relu").to_kernel()
    for name in ("weights", "directions", "offsets"):
        assert getattr(back, name).dtype == np.float64
        np.testing.assert_array_equal(getattr(back, name), getattr(kernel, name))
    rounded = KernelActivation("silu", "relu", tol=1e-2).to_kernel()
    np.testing.assert_array_equal(rounded.offsets, np.float32(kernel.offsets))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("shape", [(), (7,), (2, 3, 5), (0, 4)])
@pytest.mark.parametrize("target", ["relu", jb.repu(2)])
def test_shape_and_dtype_are_kept(dtype, shape, target):
    module = KernelActivation("gelu", target, tol=1e-2)
    z = jnp.linspace(-3, 3, int(np.prod(shape))).reshape(shape).astype(dtype)
    got = module(z)
    assert (got.shape, got.dtype) == (shape, dtype)
    # one rounding to the dtype, of a value computed in single precision
    np.testing.assert_array_equal(got, module(z.astype(jnp.float32)).astype(dtype))


def test_an_exact_kernel_needs_no_tolerance_and_any_target_serves():
    z = jnp.linspace(-4, 4, 41)
    leaky = KernelActivation("leaky_relu", "relu")
    np.testing.assert_allclose(leaky(z), jax.nn.leaky_relu(z), atol=1e-6)
    module = KernelActivation("sigmoid", "tanh")
    np.testing.assert_allclose(module(z), jax.nn.sigmoid(z), atol=1e-6)
    assert isinstance(module.directions, nnx.Param)
    assert isinstance(leaky.directions, KernelDirection)


def test_the_tails_of_a_trained_kernel_stay_lines():
    module = KernelActivation("gelu", jb.repu(2), tol=1e-2)
    module.offsets[...] = module.offsets[...] + 0.1 * jnp.cos(jnp.arange(module.offsets.size))
    left, right = module.window
    kernel = module.to_kernel()
    inside = jnp.linspace(left, right, 101)
    np.testing.assert_allclose(
        module(inside), jb.evaluate(kernel, jb.repu(2), inside[:, None])[:, 0], atol=1e-4
    )
    slope = jax.jit(jax.vmap(jax.grad(module)))
    for end, side in ((left, -1.0), (right, 1.0)):
        near, *far = slope(end + side * jnp.array([-1e-3, 0.5, 10.0, 1e6]))
        np.testing.assert_allclose(np.asarray(far), np.asarray(near).repeat(3), atol=5e-3)
        np.testing.assert_allclose(np.asarray(far), np.asarray(far[0]).repeat(3), rtol=1e-6)


def test_the_slopes_in_the_parameters_by_finite_differences(x64):
    module = KernelActivation("gelu", jb.repu(2), tol=1e-2, param_dtype=jnp.float64)
    graph, state = nnx.split(module)
    z = jnp.linspace(-9.0, 9.0, 37)  # both tails too

    def loss(state):
        return jnp.sum(jnp.sin(nnx.merge(graph, state)(z)))

    slopes = jax.jit(jax.grad(loss))(state)
    direction = jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size)).reshape(x.shape), state)
    step = 1e-6
    moved = [jax.tree.map(lambda x, v, t=t: x + t * v, state, direction) for t in (-step, step)]
    want = (loss(moved[1]) - loss(moved[0])) / (2 * step)
    got = sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), slopes, direction)))
    assert float(got) == pytest.approx(float(want), rel=1e-6)


# ------------------------------------------------------------------ training


class Small(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(3, 16, rngs=rngs)
        self.sigma = KernelActivation("gelu", "relu", particles=8)
        self.last = ParticleLayer(16, 16, 1, "relu", rngs=rngs)

    def __call__(self, x):
        return self.last(self.sigma(self.first(x)))


def fit_loss(model, x, y):
    return jnp.mean((model(x)[:, 0] - y) ** 2) + 1e-4 * barron_penalty(model, jb.Ball(4.0))


def test_a_model_trains_with_optax_and_nnx():
    model = Small(nnx.Rngs(0))
    y = jnp.sin(2 * X[:, 0]) + X[:, 1] ** 2
    optimiser = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)
    traces = []

    @nnx.jit
    def step(model, optimiser, x, y):
        traces.append(1)
        loss, gradient = nnx.value_and_grad(fit_loss)(model, x, y)
        optimiser.update(model, gradient)
        return loss

    start = {name: np.asarray(getattr(model.sigma, name)[...])
             for name in ("weights", "directions", "offsets")}  # fmt: skip
    losses = [float(step(model, optimiser, X, y)) for _ in range(150)]
    assert len(traces) == 1
    assert losses[-1] < 0.1 * losses[0]
    assert all(np.isfinite(losses))
    assert not np.array_equal(model.sigma.offsets[...], start["offsets"])
    assert not np.array_equal(model.sigma.weights[...], start["weights"])
    np.testing.assert_array_equal(model.sigma.directions[...], start["directions"])
    assert model.last.to_measure().particles == 16


def test_a_model_trains_in_a_scan_of_pure_functions():
    y = jnp.sin(2 * X[:, 0]) + X[:, 1] ** 2
    graph, parameters, rest = nnx.split(Small(nnx.Rngs(0)), nnx.Param, ...)
    optimiser = optax.adam(1e-2)

    def step(carry, _):
        parameters, state = carry
        loss, gradient = jax.value_and_grad(
            lambda p: fit_loss(nnx.merge(graph, p, rest), X, y)
        )(parameters)  # fmt: skip
        updates, state = optimiser.update(gradient, state, parameters)
        return (optax.apply_updates(parameters, updates), state), loss

    run = jax.jit(lambda p: jax.lax.scan(step, (p, optimiser.init(p)), length=150))
    (parameters, _), losses = run(parameters)
    assert float(losses[-1]) < 0.1 * float(losses[0])
    assert isinstance(nnx.merge(graph, parameters, rest), Small)


def test_a_layer_of_numpy_doubles_trains():
    model = ParticleLayer.from_measure(measure("numpy"), "tanh")
    optimiser = nnx.Optimizer(model, optax.sgd(1e-2), wrt=nnx.Param)
    loss = nnx.value_and_grad(lambda m: jnp.mean(m(X) ** 2))
    before, gradient = loss(model)
    optimiser.update(model, gradient)
    assert float(loss(model)[0]) < float(before)
    assert model.to_measure().dtype == jnp.float32


def test_the_switch_sees_a_layer_and_leaves_a_kernel_alone():
    made = layer("gelu")
    assert [site.name for site in jb.find_activations(made, X)] == ["gelu"]
    switched = jb.switch(made, {"gelu": "relu"}, tol=1e-3)
    mass = float(made.norm(jb.Ball(1.0), weight="total_variation"))
    assert float(jnp.max(jnp.abs(switched(X) - made(X)))) <= 1.01e-3 * mass
