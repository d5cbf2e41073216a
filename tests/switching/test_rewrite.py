"""Rewriting: every primitive with a body, under every transformation, and random data flow."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, PartitionSpec

from jaxbarron.measures import unit_kernel
from jaxbarron.switching import find_activations, switch
from jaxbarron.switching.rewrite import rewrite
from jaxbarron.switching.sites import scope_of
from jaxbarron.switching.tracing import split_call, trace

RELU = {"gelu": (unit_kernel(), "relu")}
X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
W = jnp.asarray(np.random.default_rng(1).normal(size=(3, 3)), jnp.float32)
WS = jnp.stack([W, 2 * W, -W])
MESH = jax.make_mesh((1,), ("i",), axis_types=(AxisType.Auto,))
GELU, TAU = jax.nn.gelu, jax.nn.relu


def custom_vjp(sigma):
    @jax.custom_vjp
    def layer(x):
        return sigma(x @ W)

    layer.defvjp(lambda x: (layer(x), x), lambda x, g: (7.0 * g,))
    return layer


def custom_jvp(sigma):
    @jax.custom_jvp
    def own(x):
        return sigma(x)

    own.defjvp(lambda p, t: (own(*p), 7.0 * t[0]))
    return own


def shared_layer(sigma):
    layer = jax.jit(lambda x: sigma(x @ W) @ W)
    return lambda x: layer(layer(x))


BODIES = {
    "plain": lambda a: lambda x: a(x @ W) @ W,
    "residual": lambda a: lambda x: x + a(x),
    "gate": lambda a: lambda x: a(x) * jax.nn.sigmoid(x),
    "pytree": lambda a: lambda x: {"a": a(x), "b": (a(2 * x), x), "c": None},
    "jit": lambda a: jax.jit(lambda x: a(x @ W) @ W),
    "shared jit": shared_layer,
    "nested jit": lambda a: jax.jit(lambda x: jax.jit(lambda y: jax.jit(a)(y @ W))(x) + 1),
    "cond": lambda a: lambda x: jax.lax.cond(x.sum() > 0, a, lambda x: a(x) * 2, x),
    "switch": lambda a: lambda x: jax.lax.switch(
        1 + (x[0, 0] > 0), [jnp.tanh, a, lambda x: a(3 * x)], x
    ),
    "scan": lambda a: lambda x: jax.lax.scan(lambda c, w: (a(c @ w), c.sum()), x, WS),
    "reverse scan": lambda a: lambda x: jax.lax.scan(
        lambda c, w: (a(c @ w) @ W, {"s": c.sum(), "t": a(c)}), x, WS, reverse=True, unroll=2
    ),
    "scan without slices": lambda a: lambda x: jax.lax.scan(
        lambda c, _: ((a(c[0] @ W), c[1] + 1), None), (x, 0), None, length=3
    ),
    "map of scalars": lambda a: lambda x: jax.lax.map(a, x.reshape(-1)),
    "fori": lambda a: lambda x: jax.lax.fori_loop(0, 3, lambda i, c: a(c @ W), x),
    "while": lambda a: lambda x: jax.lax.while_loop(
        lambda c: (a(c[0]).sum() < 9) & (c[1] < 5), lambda c: (a(c[0]) + 1, c[1] + 1), (x, 0)
    ),
    "remat": lambda a: jax.checkpoint(
        lambda x: a(x @ W) @ W, policy=jax.checkpoint_policies.dots_saveable
    ),
    "remat of a scan": lambda a: jax.checkpoint(
        lambda x: jax.lax.scan(lambda c, w: (a(c @ w), None), x, WS)[0]
    ),
    "vmap": lambda a: jax.vmap(lambda x: a(W @ x)),
    "vmap with a collective": lambda a: jax.vmap(
        lambda x: a(x - jax.lax.pmean(x, "b")), axis_name="b"
    ),
    "concatenation": lambda a: lambda x: a(jnp.concatenate([x, -x])),
    "custom jvp around": lambda a: lambda x: jax.nn.relu(a(x)) + a(x),
    "shard_map": lambda a: jax.shard_map(
        lambda x: a(x @ W) + jax.lax.psum(x, "i"),
        mesh=MESH, in_specs=PartitionSpec("i"), out_specs=PartitionSpec("i"),
    ),
}  # fmt: skip
NO_REVERSE = {"while"}


def total(fn):
    return lambda x: sum(jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(fn(x)) if y.dtype == x.dtype)


TRANSFORMS = {
    "eager": lambda f: f,
    "jit": jax.jit,
    "vmap": lambda f: lambda x: jax.jit(jax.vmap(f))(jnp.stack([x, -x])),
    "jvp": lambda f: jax.jit(lambda x: jax.jvp(total(f), (x,), (jnp.cos(x),))),
    "grad": lambda f: jax.grad(total(f)),
    "remat": lambda f: jax.jit(jax.vmap(jax.grad(jax.checkpoint(total(f))))),
    "scan": lambda f: lambda x: jax.lax.scan(lambda c, _: (c, f(x)), 0, None, length=2)[1],
}


@pytest.mark.parametrize("body", BODIES)
def test_every_body_under_every_transformation(body):
    switched, expected = switch(BODIES[body](GELU), RELU), BODIES[body](TAU)
    for name, transform in TRANSFORMS.items():
        if body in NO_REVERSE and name in ("grad", "remat"):
            continue
        x = X[None] if name == "remat" else X
        got, want = transform(switched)(x), transform(expected)(x)
        assert jax.tree.structure(got) == jax.tree.structure(want)
        for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(g, w, rtol=2e-5, atol=2e-5, err_msg=f"{body} {name}")
            assert g.dtype == w.dtype


def test_no_old_activation_is_left_and_names_stay():
    def fn(x):
        return jax.jit(lambda x: GELU(x @ W), inline=False)(x)

    text = str(jax.make_jaxpr(switch(fn, RELU))(X))
    assert "tanh" not in text
    assert "integer_pow[y=3]" not in text
    assert "name=<lambda>" in text


def test_custom_derivatives_of_the_old_activation_are_dropped_others_stay():
    for around in (custom_vjp(GELU), lambda x: custom_jvp(GELU)(x @ W)):
        switched = switch(around, RELU)
        np.testing.assert_allclose(switched(X), TAU(X @ W))
        want = jax.grad(lambda x: TAU(x @ W).sum())(X)
        np.testing.assert_allclose(jax.grad(lambda x, f=switched: f(x).sum())(X), want, rtol=1e-5)

    @jax.custom_vjp
    def reversal(x):
        return x

    reversal.defvjp(lambda x: (x, None), lambda _, g: (-g,))
    other = switch(lambda x: x + GELU(reversal(x)), RELU)
    want = jax.grad(lambda x: (x + TAU(reversal(x))).sum())(X)
    np.testing.assert_array_equal(jax.grad(lambda x: other(x).sum())(X), want)


# ----------------------------------------------------- random elementwise programs


ATOMS = [GELU, jnp.tanh, jax.nn.silu, lambda z: 2 * z - 1, jnp.exp, lambda z: z * z]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(range(6)), st.booleans()), min_size=1, max_size=6))
def test_replacing_by_the_same_function_is_the_identity(steps):
    """Random dataflow: every site that is found, replaced by its own function, changes nothing."""

    def fn(x):
        values = [x]
        for atom, mix in steps:
            y = ATOMS[atom](0.3 * values[-1])
            values.append(y + values[0] if mix else y)
        return values

    traced = trace(fn, split_call((X,), {}))
    scope = scope_of(traced, ())
    sites = find_activations(fn, X)
    emit = rewrite(scope, {site.path: site.activation for site in sites}, {})
    for got, want in zip(emit(X), fn(X), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
    count = sum(atom in (0, 1, 2) for atom, _ in steps)
    assert len([site for site in sites if site.name in ("gelu_tanh", "tanh", "silu")]) == count
