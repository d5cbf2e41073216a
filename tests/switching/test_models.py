"""Sites and switched outputs of models written with the common libraries.

Every model is built twice, with GELU and with ReLU; the model with GELU, switched by the kernel of
one particle that makes ReLU, must be the model with ReLU.
"""

from __future__ import annotations

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxbarron.measures import unit_kernel
from jaxbarron.switching import find_activations, switch

RELU = {"gelu": (unit_kernel(), "relu")}
X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 8)), jnp.float32)


def linen_mlp(sigma):
    class Block(nn.Module):
        features: int

        @nn.compact
        def __call__(self, x, *, train: bool):
            y = nn.Dense(self.features)(nn.LayerNorm()(x))
            y = nn.Dropout(0.5, deterministic=not train)(sigma(y))
            return x + nn.Dense(x.shape[-1])(y)

    class Mlp(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            for _ in range(2):
                x = Block(16)(x, train=train)
            return {"logits": nn.Dense(3)(x), "probabilities": nn.softmax(x)}

    model = Mlp()
    params = jax.jit(model.init)(jax.random.key(0), X)
    return model.apply, (params, X), {"train": False}, [(6, 16)] * 2


def linen_scan_over_layers(sigma):
    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return x + nn.Dense(8)(sigma(nn.Dense(16)(x))), None

    class Deep(nn.Module):
        @nn.compact
        def __call__(self, x):
            layers = nn.scan(
                nn.remat(Layer), variable_axes={"params": 0}, split_rngs={"params": True}, length=3
            )
            return layers()(x, None)[0]

    model = Deep()
    return model.apply, (jax.jit(model.init)(jax.random.key(0), X), X), {}, [(6, 16)]


def linen_transformer(sigma):
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, mask):
            y = nn.LayerNorm()(x)
            x = x + nn.MultiHeadDotProductAttention(num_heads=2)(y, y, mask=mask)
            y = nn.RMSNorm()(x)
            return x + nn.Dense(8)(sigma(nn.Dense(32)(y)))

    model = Block()
    tokens = X.reshape(1, 6, 8)
    mask = nn.make_causal_mask(jnp.ones((1, 6)))
    params = jax.jit(model.init)(jax.random.key(1), tokens, mask)
    return model.apply, (params, tokens, mask), {}, [(1, 6, 32)]


def nnx_mlp(sigma):
    class Mlp(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(8, 16, rngs=rngs)
            self.norm = nnx.BatchNorm(16, use_running_average=True, rngs=rngs)
            self.second = nnx.Linear(16, 3, rngs=rngs)

        def __call__(self, x):
            return self.second(sigma(self.norm(self.first(x))))

    graph, state = nnx.split(Mlp(nnx.Rngs(0)))
    return (lambda state, x: nnx.merge(graph, state)(x)), (state, X), {}, [(6, 16)]


def nnx_closure(sigma):
    class Mlp(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(8, 16, rngs=rngs)
            self.second = nnx.Linear(16, 3, rngs=rngs)

        def __call__(self, x):
            return self.second(sigma(self.first(x)))

    model = Mlp(nnx.Rngs(0))
    return model, (X,), {}, [(6, 16)]


def equinox_mlp(sigma):
    model = eqx.nn.MLP(8, 3, 16, depth=2, activation=sigma, key=jax.random.key(0))
    return (lambda model, x: jax.vmap(model)(x)), (model, X), {}, [(6, 16)] * 2


def equinox_filter_jit(sigma):
    class Conv(eqx.Module):
        conv: eqx.nn.Conv1d
        norm: eqx.nn.LayerNorm

        @eqx.filter_jit
        def __call__(self, x):
            return sigma(self.norm(self.conv(x)))

    model = Conv(eqx.nn.Conv1d(6, 4, 3, key=jax.random.key(0)), eqx.nn.LayerNorm((4, 6)))
    return model, (X,), {}, [(4, 6)]


def haiku_mlp(sigma):
    def forward(x, train):
        x = hk.LayerNorm(-1, create_scale=True, create_offset=True)(x)
        x = sigma(hk.Linear(16)(x))
        if train:
            x = hk.dropout(hk.next_rng_key(), 0.5, x)
        return hk.Linear(3)(x)

    model = hk.transform(forward)
    params = model.init(jax.random.PRNGKey(0), X, train=True)
    return model.apply, (params, jax.random.PRNGKey(1), X), {"train": True}, [(6, 16)]


def plain_python_loop(sigma):
    weights = [(jax.random.normal(jax.random.key(i), (8, 8)) / 3, jnp.zeros(8)) for i in range(4)]

    def apply(params, x, depth, name):
        assert name == "plain"
        for w, b in params[:depth]:
            x = sigma(x @ w + b)
        return x, name, None

    return apply, (weights, X, 3, "plain"), {}, [(6, 8)] * 3


MODELS = [
    linen_mlp, linen_scan_over_layers, linen_transformer, nnx_mlp, nnx_closure, equinox_mlp,
    equinox_filter_jit, haiku_mlp, plain_python_loop,
]  # fmt: skip


def arrays(tree):
    return [x for x in jax.tree.leaves(tree) if eqx.is_array(x)]


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_sites(build):
    exact = len(build.__name__) % 2 == 0  # each form in some of the models
    apply, args, kwargs, shapes = build(lambda z: jax.nn.gelu(z, approximate=not exact))
    sites = find_activations(apply, *args, **kwargs)
    assert [site.shape for site in sites] == shapes
    assert {site.name for site in sites} == {"gelu" if exact else "gelu_tanh"}
    assert {site.dtype for site in sites} == {np.dtype(np.float32)}
    assert len({site.path for site in sites}) == len(sites)


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_switched_model_is_the_model_with_the_target(build):
    apply, args, kwargs, _ = build(jax.nn.gelu)
    expected, relu_args, *_ = build(jax.nn.relu)
    switched = switch(apply, RELU)
    result, wanted = switched(*args, **kwargs), expected(*relu_args, **kwargs)
    assert jax.tree.structure(result) == jax.tree.structure(wanted)
    for got, want in zip(jax.tree.leaves(result), jax.tree.leaves(wanted), strict=True):
        if eqx.is_array(want):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
            assert got.dtype == want.dtype
        else:
            assert got == want


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_gradient_of_the_switched_model(build):
    apply, args, kwargs, _ = build(jax.nn.gelu)
    expected, relu_args, *_ = build(jax.nn.relu)
    place = max(i for i, x in enumerate(args) if eqx.is_array(x) and x.size == X.size)

    def loss(fn, arguments, x):
        outputs = fn(*arguments[:place], x, *arguments[place + 1 :], **kwargs)
        return sum(jnp.sum(jnp.sin(y)) for y in arrays(outputs))

    switched = switch(apply, RELU)
    want = jax.jit(jax.grad(lambda x: loss(expected, relu_args, x)))(args[place])
    got = jax.jit(jax.grad(lambda x: loss(switched, args, x)))(args[place])
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


def test_mutable_state_of_a_model_in_a_closure_is_seen():
    model = nnx.Linear(8, 8, rngs=nnx.Rngs(0))
    switched = switch(lambda x: jax.nn.gelu(model(x)), RELU)
    before = switched(X)
    model.kernel[...] = -model.kernel[...]
    np.testing.assert_allclose(switched(X), jax.nn.relu(model(X)), rtol=1e-5, atol=1e-6)
    assert not np.allclose(before, switched(X))


def test_named_scopes_are_in_the_paths():
    apply, args, kwargs, _ = linen_mlp(jax.nn.gelu)
    paths = [site.path for site in find_activations(apply, *args, **kwargs)]
    assert all("Block_" in path for path in paths)
