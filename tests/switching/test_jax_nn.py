"""Every activation of jax.nn: found, recognised, switched within the bound or refused by name."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxbarron as jb
from jaxbarron.errors import NoSiteError, UnreachableTargetError

Z = jnp.asarray(np.linspace(-9.0, 9.0, 1200), jnp.float32).reshape(100, 12)
TARGETS = ("relu", "repu(2)", "repu(3)")

# jax.nn's name: the names of the sites, in order.
FOUND = {
    "celu": ["elu"],
    "elu": ["elu"],
    "gelu": ["gelu_tanh"],
    "hard_sigmoid": ["hard_sigmoid"],
    "hard_silu": ["hard_swish"],
    "hard_swish": ["hard_swish"],
    "hard_tanh": ["hard_tanh"],
    "leaky_relu": ["leaky_relu"],
    "log_sigmoid": ["softplus"],
    "mish": ["mish"],
    "relu": ["relu"],
    "relu6": ["relu6"],
    "selu": ["selu"],
    "sigmoid": ["sigmoid"],
    "silu": ["silu"],
    "soft_sign": ["softsign"],
    "softplus": ["softplus"],
    "sparse_plus": ["unknown"],
    "sparse_sigmoid": ["unknown"],
    "squareplus": ["squareplus"],
    "swish": ["silu"],
    "tanh": ["tanh"],
}
GATED = {"glu": ["sigmoid"]}
# No activation at all, or one that lives on a half-line: refused with the library's own error.
REFUSED = {
    "identity": NoSiteError,
    "log_softmax": NoSiteError,
    "logmeanexp": NoSiteError,
    "logsumexp": NoSiteError,
    "softmax": NoSiteError,
    "standardize": NoSiteError,
    "log1mexp": UnreachableTargetError,
}
# Not functions of one array.
OTHERS = {"dot_product_attention", "one_hot", "scaled_dot_general", "scaled_matmul",
          "get_scaled_dot_general_config"}  # fmt: skip


def names(fn, *args):
    return [site.name for site in jb.find_activations(fn, *args)]


def test_the_table_is_complete():
    public = {n for n in dir(jax.nn) if not n.startswith("_") and callable(getattr(jax.nn, n))}
    assert public <= set(FOUND) | set(GATED) | set(REFUSED) | OTHERS


@pytest.mark.parametrize("name", FOUND)
def test_found_and_switched(name):
    fn = getattr(jax.nn, name)
    assert names(fn, Z) == FOUND[name]
    with jax.enable_x64(True):
        want = np.asarray(fn(jnp.asarray(Z, jnp.float64)))
    for target in TARGETS:
        rules = dict.fromkeys(FOUND[name], target)
        ((_, _, _, certificate),) = jb.plan_switch(fn, rules, Z, tol=1e-2)
        change = np.abs(np.asarray(jb.switch(fn, rules, tol=1e-2)(Z), np.float64) - want)
        assert certificate.level == "rigorous"
        assert np.max(change) <= certificate.upper + 2e-6 <= 1e-2 + 2e-6


@pytest.mark.parametrize("library", [nn, nnx])
def test_the_libraries_ship_the_same_functions(library):
    shipped = [name for name in FOUND if hasattr(library, name)]
    assert len(shipped) >= 18
    for name in shipped:
        assert names(getattr(library, name), Z) == FOUND[name]


def test_gates_are_sites_of_one_factor():
    assert names(jax.nn.glu, Z) == GATED["glu"]
    for gate, name in ((jax.nn.silu, "silu"), (jax.nn.gelu, "gelu_tanh")):
        assert names(lambda x, gate=gate: gate(x) * jnp.flip(x, 0), Z) == [name]
    switched = jb.switch(jax.nn.glu, {"sigmoid": "relu"}, tol=1e-2)(Z)
    assert jnp.all(jnp.abs(switched - jax.nn.glu(Z)) <= 1e-2 * jnp.abs(Z[:, :6]) + 1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    rules = {"unknown": "relu"} if name == "log1mexp" else {"gelu": "relu"}
    with pytest.raises(REFUSED[name], match=r"given: .*expected: .*do: "):
        jb.switch(getattr(jax.nn, name), rules, tol=1e-2)(jnp.abs(Z) + 1)


W = jnp.asarray(np.random.default_rng(0).normal(size=(12, 12)), jnp.float32)
HABITS = {
    "QuickGELU": (lambda z: z * jax.nn.sigmoid(1.702 * z), ["swish(1.702)"]),
    "exact GELU": (lambda z: jax.nn.gelu(z, approximate=False), ["gelu"]),
    "where": (lambda z: jnp.where(z > 0, z, jnp.expm1(z)), ["elu"]),
    "ReLU squared": (lambda z: jnp.square(jax.nn.relu(z)), ["repu(2)"]),
    "a capped logit": (lambda z: 30 * jnp.tanh(z / 30), ["tanh"]),
    "a clip is one site, no ReLU": (lambda z: jnp.clip(z, 0, 2), ["unknown"]),
    "attention by softplus": (
        lambda z: jax.nn.softplus(z) / jax.nn.softplus(z).sum(-1, keepdims=True),
        ["softplus", "softplus"],
    ),
    "GELU by erf": (lambda z: 0.5 * z * (1 + jax.lax.erf(z / np.sqrt(2))), ["gelu"]),
    "GELU by a power": (
        lambda z: 0.5 * z * (1 + jnp.tanh(0.79788456 * (z + 0.044715 * jnp.power(z, 3)))),
        ["gelu_tanh"],
    ),
    "GELU scaled to unit variance": (lambda z: 1.7015043497 * jax.nn.gelu(z), ["gelu_tanh"]),
    "GEGLU": (lambda z: jax.nn.gelu(z @ W) * (z @ W.T), ["gelu_tanh"]),
    "SwiGLU in halves": (
        lambda z: jax.nn.silu(jnp.split(z @ W, 2, -1)[0]) * jnp.split(z @ W, 2, -1)[1],
        ["silu"],
    ),
    "SwiGLU with clips": (
        lambda z: (lambda g, u: g * jax.nn.sigmoid(1.702 * g) * (u + 1))(
            jnp.clip(z @ W, None, 7.0), jnp.clip(z @ W.T, -7.0, 7.0)
        ),
        ["unknown", "unknown", "swish(1.702)"],
    ),
    "bilinear": (lambda z: (z @ W) * (z @ W.T), []),
    "maxout": (lambda z: jnp.max(z.reshape(100, 6, 2), -1), []),
    "maxout of two layers": (lambda z: jnp.maximum(z @ W, z @ W.T), []),
    "capped attention": (lambda z: jax.nn.softmax(50 * jnp.tanh(z @ z.T / 50)) @ z, ["tanh"]),
    "a fixed random slope": (
        lambda z: jnp.where(z >= 0, z, z * (1 / 8 + 1 / 3) / 2), ["leaky_relu(0.2291667)"]
    ),
    "shrinkage by tanh": (lambda z: z - jnp.tanh(z), ["tanh"]),
    "hard shrinkage is one site, no modulus": (
        lambda z: jnp.where(jnp.abs(z) > 0.5, z, 0.0), ["unknown"]
    ),
    "a modulus that is used": (lambda z: jnp.abs(z @ W) @ W, ["abs"]),
    "StarReLU": (lambda z: 0.8944 * jax.nn.relu(z) ** 2 - 0.4472, ["repu(2)"]),
    "a learned slope in tanh": (lambda z: jnp.tanh(z[:1] * z), ["tanh"]),
    "attention": (lambda z: jnp.einsum("ij,kj->ik", jax.nn.softmax(z), z), []),
    "rotary embedding": (lambda z: z * jnp.cos(jnp.arange(12.0)), []),
    "casts around": (
        lambda z: nnx.gelu(z.astype(jnp.float32), approximate=False).astype(jnp.bfloat16),
        ["gelu"],
    ),
    "a cast inside": (
        lambda z: (b := z.astype(jnp.bfloat16))
        * jax.nn.sigmoid(b.astype(jnp.float32)).astype(jnp.bfloat16),
        ["silu"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("habit", HABITS)
def test_habits(habit):
    fn, expected = HABITS[habit]
    assert names(fn, Z) == expected


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(("fn", "name"), [(jax.nn.gelu, "gelu_tanh"), (jnp.tanh, "tanh"),
                                          (jax.nn.silu, "silu")])  # fmt: skip
def test_half_precision_rounds_the_kernel_once(fn, name, dtype):
    """In half precision the site gives the kernel's value at z, rounded: nothing else is lost."""
    z = Z.astype(dtype)
    assert names(fn, z) == [name]
    got = jb.switch(fn, {name: "repu(2)"}, tol=1e-3)(z)
    assert got.dtype == dtype
    with jax.enable_x64(True):
        exact = np.asarray(jb.activation(name)(jnp.asarray(z, jnp.float64)))
    half = float(jnp.finfo(dtype).eps) / 2
    allowed = 1e-3 + half * (np.abs(exact) + 1e-3) + 1e-5
    assert np.all(np.abs(np.asarray(got, np.float64) - exact) <= allowed)


class Block(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(12, 12, rngs=rngs, dtype=jnp.bfloat16)
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.drop(nnx.swish(self.linear(x))).astype(x.dtype)


def test_nnx_layers_in_evaluation_mode_stacked_and_scanned():
    stacked = nnx.vmap(lambda keys: Block(nnx.Rngs(keys)))(jax.random.split(jax.random.key(0), 3))
    stacked.eval()
    graph, state = nnx.split(stacked)

    def apply(state, x):
        model = nnx.merge(graph, state)
        run = nnx.scan(lambda x, layer: layer(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        return run(x, model)

    (site,) = jb.find_activations(apply, state, Z)
    assert (site.name, site.dtype, site.path.startswith("scan")) == ("silu", jnp.bfloat16, True)
    switched = jax.jit(jb.switch(apply, {"silu": "relu"}, tol=1e-2))
    assert float(jnp.max(jnp.abs(switched(state, Z) - apply(state, Z)))) < 0.2
    assert "logistic" not in str(
        jax.make_jaxpr(jb.switch(apply, {"silu": "relu"}, tol=1e-2))(state, Z)
    )
