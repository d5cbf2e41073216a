"""Where activations are found, and where they are not."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbarron.activations import activation
from jaxbarron.errors import TraceError, UsageError
from jaxbarron.switching import find_activations, opaque_parts

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
ALPHA = jnp.float32(0.125)
WS = jnp.ones((2, 3, 3))
W = jnp.asarray(np.random.default_rng(1).normal(size=(3, 3)), jnp.float32)


def names(fn, *args, **kwargs):
    return [site.name for site in find_activations(fn, *args, **kwargs)]


def layer_norm(x):
    mean, square = x.mean(-1, keepdims=True), (x * x).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(jnp.maximum(0.0, square - mean**2) + 1e-6)


def attention(x):
    scores = jnp.where(jnp.tri(4, dtype=bool), x @ x.T / np.sqrt(3), -jnp.inf)
    return jax.nn.softmax(scores) @ x


NONE = {
    "affine": lambda x: 2 * x + 1,
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "logsumexp": lambda x: jax.scipy.special.logsumexp(x, axis=-1),
    "layer norm": layer_norm,
    "attention": attention,
    "rms norm": lambda x: x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + 1e-6),
    "unit vector": lambda x: x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12),
    "cross entropy": lambda x: -jnp.log(jnp.clip(jax.nn.softmax(x), 1e-7, 1.0)).mean(),
    "entropy": lambda x: -(x * jnp.log(x)).sum(),
    "log of a clip": lambda x: jnp.log(jnp.clip(x, 1e-6, 1 - 1e-6)),
    "safe division": lambda x: X / jnp.where(x == 0, 1.0, x),
    "a wide clip": lambda x: jnp.clip(x, -1e30, 1e30),
    "constants": lambda x: x @ jnp.sin(jnp.arange(9.0).reshape(3, 3)),
    "a learning rate": lambda x: x * jnp.cos(x.sum()),
    "a mask": lambda x: jnp.where(x > 0, X, -X),
    "two arrays": lambda x: jnp.maximum(x, X),
    "dead code": lambda x: (jnp.tanh(x), x)[1],
    "integers": lambda x: jnp.maximum(jnp.arange(3), 0) + x,
}


@pytest.mark.parametrize("name", NONE)
def test_no_sites(name):
    assert names(NONE[name], X) == []


def test_the_exclusions_are_what_excludes(monkeypatch):
    """Planted faults: without its rule, each of these would be taken for an activation."""
    with monkeypatch.context() as planted:
        planted.setattr("jaxbarron.switching.clusters._is_guard", lambda *_: False)
        assert "relu" in names(layer_norm, X)
    with monkeypatch.context() as planted:
        planted.setattr("jaxbarron.switching.clusters.is_elementary", lambda _: False)
        assert names(jax.nn.softmax, X) == ["unknown"]
    with monkeypatch.context() as planted:
        planted.setattr("jaxbarron.switching.flow._ARITY", {"tanh": 1})
        assert names(jax.nn.gelu, X) == ["tanh"]


@pytest.mark.parametrize("key", [jax.random.key(0), jax.random.PRNGKey(0)], ids=["typed", "raw"])
def test_random_numbers_are_no_function_of_the_input(key):
    def dropout(x, key):
        keep = jax.random.bernoulli(key, 0.5, x.shape)
        noise = jax.random.uniform(jax.random.fold_in(key, 1), x.shape)
        return jnp.where(keep, jax.nn.silu(x) / 0.5, 0.0) + noise

    assert names(dropout, X, key) == ["silu"]
    assert names(jax.jit(dropout), X, key) == ["silu"]


FORMS = {
    "jnp.where": ("relu", lambda x: jnp.where(x > 0, x, 0.0)),
    "a product with a mask": ("relu", lambda x: x * (x > 0)),
    "an array of zeros": ("relu", lambda x: jnp.maximum(x, jnp.zeros_like(x))),
    "NumPy's zeros": ("relu", lambda x: jnp.maximum(x, np.zeros((4, 3), np.float32))),
    "clip": ("relu6", lambda x: jnp.clip(x, 0, 6)),
    "a call within arithmetic": ("swish(1.702)", lambda x: x * jax.nn.sigmoid(1.702 * x)),
    "affine ends": ("gelu_tanh", lambda x: 0.5 * jax.nn.gelu(2 * x - 1) + 3),
    "residual": ("gelu_tanh", lambda x: x + jax.nn.gelu(x)),
    "a gate": ("silu", lambda x: (x @ W) * jax.nn.silu(x)),
    "concatenation": ("relu", lambda x: jax.nn.relu(jnp.concatenate([x, -x]))),
    "squared": ("repu(2)", lambda x: jnp.square(jax.nn.relu(x))),
    "elu's two branches": ("elu(0.7)", lambda x: jax.nn.elu(x, 0.7)),
    "a captured scalar": ("leaky_relu(0.125)", lambda x: jnp.where(x >= 0, x, ALPHA * x)),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.vmap], ids=["plain", "jit", "vmap"])
def test_forms(form, wrap):
    name, fn = FORMS[form]
    if wrap is jax.vmap and form == "NumPy's zeros":
        fn = FORMS["an array of zeros"][1]
    assert names(lambda x: wrap(fn)(x), X) == [name]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_and_mixed_precision(dtype):
    x = X.astype(dtype)
    (site,) = find_activations(jax.nn.gelu, x)
    assert (site.name, site.dtype) == ("gelu_tanh", dtype)
    mixed = find_activations(lambda x: jax.nn.gelu(x.astype(jnp.float32)).astype(dtype), x)
    assert [(site.name, site.dtype) for site in mixed] == [("gelu_tanh", np.float32)]


def test_double_precision(x64):
    (site,) = find_activations(jax.nn.gelu, jnp.ones(3))
    assert (site.name, site.dtype) == ("gelu_tanh", np.float64)


PATHS = {
    "tanh[0]": jnp.tanh,
    "jit:silu[0]": jax.nn.silu,
    "jit:<lambda>[0]/tanh[1]": jax.jit(lambda x: jnp.tanh(x @ W)),
    "scan[0]/jit:silu[1]": lambda x: jax.lax.scan(
        lambda c, w: (jax.nn.silu(c @ w), None), x, WS)[0],
    "while.body[0]/tanh[0]": lambda x: jax.lax.while_loop(
        lambda c: c.sum() < 9, lambda c: jnp.tanh(c) + 1, x),
    "cond.branch1[2]/tanh[0]": lambda x: jax.lax.cond(
        x.sum() > 0, lambda x: jnp.tanh(x), lambda x: x, x),
    "remat:<lambda>[0]/tanh[1]": jax.checkpoint(lambda x: jnp.tanh(x @ W)),
    "custom_jvp:relu[0]": jax.nn.relu,
    "body/tanh[0]": jax.named_scope("body")(jnp.tanh),
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_paths(path):
    (site,) = find_activations(PATHS[path], X)
    if path.startswith("cond"):  # the comparison's equations are JAX's affair
        assert site.path.startswith("cond.branch1[")
    else:
        assert site.path == path
    assert find_activations(PATHS[path], X)[0] == site


def test_several_sites_in_order_with_their_own_paths():
    def fn(x):
        y = jnp.tanh(x @ W)
        return {"gate": jax.nn.sigmoid(y @ W), "y": y, "again": y * jax.nn.sigmoid(y)}

    sites = find_activations(fn, X)
    assert [site.name for site in sites] == ["tanh", "sigmoid", "silu"]
    assert len({site.path for site in sites}) == 3


def test_a_value_that_is_used_twice():
    assert names(lambda x: (jax.nn.sigmoid(x), x * jax.nn.sigmoid(x)), X) == ["sigmoid", "silu"]
    both = names(lambda x: (lambda s: (s, x * s))(jax.nn.sigmoid(x)), X)
    assert both == ["sigmoid", "silu"]


def test_scalars_count_where_all_is_scalar():
    assert names(jnp.tanh, jnp.float32(1.0)) == ["tanh"]
    assert names(jnp.tanh, 1.0) == ["tanh"]
    assert names(lambda x: jnp.tanh(x.sum()), X) == []
    assert names(lambda x: jax.lax.map(jax.nn.gelu, x.reshape(-1)), X) == ["gelu_tanh"]


def test_unknown_functions_are_sites_with_their_own_function():
    def swoosh(z):
        return jnp.where(z > 0, z * z / (1 + z * z), 0.1 * jnp.expm1(z))

    (site,) = find_activations(lambda x: 2 * swoosh(x @ W) - 1, X)
    assert (site.name, site.activation.name) == ("unknown", "unknown")
    np.testing.assert_allclose(site.activation(X), swoosh(X), rtol=1e-6)
    (site,) = find_activations(lambda x: x / jnp.maximum(2, jnp.abs(x) + 1), X)
    assert site.name == "unknown"
    (site,) = find_activations(lambda x: X / swoosh(x), X)
    assert len(site.activation.program.operations) > 3


def test_own_activations_bear_their_name():
    def snake(z):
        return z + jnp.sin(3.0 * z) ** 2 / 3.0

    mine = activation(snake, name="snake")
    (site,) = find_activations(lambda x: 2 * snake(x @ W) - 1, X, known=[mine])
    assert site.name == "snake"
    assert site.activation is mine


def test_arguments_that_are_no_arrays():
    def fn(x, kind, *, train=False, scale=None):
        if train and kind == "b":
            return jnp.tanh(x)
        return jax.nn.silu(x) if scale is None else jax.nn.silu(scale * x)

    assert names(fn, X, "b", train=True) == ["tanh"]
    assert names(fn, X, "a", train=True, scale=2.0) == ["silu"]
    struct = jax.ShapeDtypeStruct((2, 5), jnp.bfloat16)
    (site,) = find_activations(fn, struct, kind="a")
    assert (site.shape, site.dtype) == ((2, 5), jnp.bfloat16)


def test_tokens_are_inputs_too():
    table = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    assert names(lambda tokens: jnp.tanh(jnp.asarray(table)[tokens] @ W), jnp.arange(4)) == ["tanh"]


def test_what_cannot_be_rewritten_is_named_and_is_no_site():
    @jax.custom_batching.custom_vmap
    def layer(x):
        return jnp.tanh(x @ W)

    layer.def_vmap(lambda size, batched, x: (layer(x), batched[0]))
    assert names(lambda x: layer(x) + 1, X) == []
    (path,) = opaque_parts(lambda x: layer(x) + 1, X)
    assert path == "custom_vmap_call[0]"


def test_a_choice_by_platform_is_not_rewritten():
    def fn(x):
        return jax.lax.platform_dependent(x, cpu=jnp.tanh, default=jax.nn.silu)

    assert names(fn, X) == []
    assert len(opaque_parts(fn, X)) == 2


def test_errors():
    with pytest.raises(TraceError, match=r"given: .*expected: .*do: "):
        find_activations(lambda x: jnp.tanh(x) if x.sum() > 0 else x, X)
    with pytest.raises(TraceError, match="dot_general"):
        find_activations(lambda x: x @ x, X)
    with pytest.raises(UsageError, match=r"given: .*expected: .*do: "):
        find_activations("gelu", X)


def test_hundreds_of_sites_are_found_fast():
    def deep(x):
        for _ in range(200):
            x = x + jax.nn.gelu(x @ W) @ W
        return x

    start = time.perf_counter()
    assert names(deep, X) == ["gelu_tanh"] * 200
    assert time.perf_counter() - start < 10.0
