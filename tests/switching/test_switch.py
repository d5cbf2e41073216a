"""The transformation: bounds, rules, tracing, errors."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbarron.activations import activation
from jaxbarron.certify import certified_kernel
from jaxbarron.errors import (
    NoSiteError,
    ShapeError,
    ToleranceError,
    TraceError,
    UnknownActivationError,
    UsageError,
)
from jaxbarron.kernels.factored import kernel_as_activation
from jaxbarron.measures import ParticleMeasure, evaluate, unit_kernel
from jaxbarron.switching import find_activations, plan_switch, switch

RELU = {"gelu": (unit_kernel(), "relu")}
X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
W = jnp.asarray(np.random.default_rng(1).normal(size=(3, 3)), jnp.float32)
GELU, TAU = jax.nn.gelu, jax.nn.relu


def test_half_precision_stays():
    x = X.astype(jnp.bfloat16)
    result = switch(lambda x: GELU(x @ W.astype(x.dtype)), RELU)(x)
    assert result.dtype == jnp.bfloat16
    mixed = switch(lambda x: GELU(x.astype(jnp.float32)).astype(x.dtype), RELU)(x)
    np.testing.assert_array_equal(mixed, TAU(x))


def test_identity_rule_changes_nothing():
    switched = switch(lambda x: jnp.tanh(x @ W) @ W, {"tanh": (unit_kernel(), "tanh")})
    np.testing.assert_array_equal(switched(X), jnp.tanh(X @ W) @ W)


@pytest.mark.parametrize("target", ["relu", "repu(2)", "repu(3)"])
@pytest.mark.parametrize("source", ["gelu", "tanh", "silu"])
def test_change_of_a_model_is_within_the_certified_bound(source, target):
    sigma, rng = activation(source), np.random.default_rng(2)
    first, bias = rng.normal(size=(3, 64)), rng.normal(size=64)
    last = rng.normal(size=(64, 2))

    def model(x):
        return sigma(x @ first + bias) @ last

    with jax.enable_x64(True):
        x = jnp.asarray(rng.normal(size=(1000, 3)) * 4)
        ((site, tau, kernel, certificate),) = plan_switch(model, {source: target}, x, tol=1e-2)
        change = jnp.abs(switch(model, {source: target}, tol=1e-2)(x) - model(x)).max(axis=0)
        bound = np.abs(last).sum(axis=0) * certificate.upper
        assert (site.name, tau.name) == (source, activation(target).name)
        assert np.all(change <= bound * (1 + 1e-9))
        assert certificate.upper <= 1e-2
        flat = evaluate(kernel, tau, np.linspace(-8, 8, 50)[:, None])[:, 0]
        np.testing.assert_allclose(
            kernel_as_activation(kernel, tau)(np.linspace(-8, 8, 50)), flat, atol=1e-9
        )


def test_a_planted_fault_shows():
    kernel, certificate = certified_kernel("tanh", "relu", tol=1e-2)
    bent = ParticleMeasure(kernel.weights * 1.05, kernel.directions, kernel.offsets)
    x = jnp.linspace(-5, 5, 400)[:, None]
    good = switch(jnp.tanh, {"tanh": (kernel, "relu")})(x)
    bad = switch(jnp.tanh, {"tanh": (bent, "relu")})(x)
    assert jnp.abs(good - jnp.tanh(x)).max() <= certificate.upper + 1e-6
    assert jnp.abs(bad - jnp.tanh(x)).max() > certificate.upper


def test_kernels_can_be_trained():
    kernel, _ = certified_kernel("tanh", "relu", particles=6)
    kernel = kernel.astype(jnp.float32)

    def loss(kernel):
        fn = switch(jax.jit(lambda x: jnp.tanh(x @ W).sum()), {"tanh": (kernel, "relu")})
        return fn(X)

    flat = jax.grad(lambda k: evaluate(k, "relu", (X @ W).reshape(-1, 1)).sum())(kernel)
    for gradient in (jax.grad(loss)(kernel), jax.jit(jax.grad(loss))(kernel)):
        for got, want in zip(jax.tree.leaves(gradient), jax.tree.leaves(flat), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------ rules


def three(x):
    return jax.nn.gelu(x), jax.nn.gelu(x @ W, approximate=False), jax.nn.leaky_relu(x @ W @ W, 0.2)


def planned(rules, fn=three):
    return [(p.site.name, p.target.name) for p in plan_switch(fn, rules, X, direct=True)]


def test_a_family_and_an_exact_name():
    assert planned({"gelu": "relu"}) == [("gelu_tanh", "relu"), ("gelu", "relu")]
    assert planned({"gelu_tanh": "relu"}) == [("gelu_tanh", "relu")]
    both = {"gelu": "relu", "gelu_tanh": "silu"}
    assert planned(both) == [("gelu_tanh", "silu"), ("gelu", "relu")]
    assert planned({"leaky_relu": "relu"}) == [("leaky_relu(0.2)", "relu")]
    assert planned({"prelu": "relu"}) == [("leaky_relu(0.2)", "relu")]
    with pytest.raises(NoSiteError):
        planned({"leaky_relu(0.3)": "relu"})


def test_another_name_of_the_same_function():
    assert planned({"celu": "relu"}, jax.nn.elu) == [("elu", "relu")]
    assert planned({"quick_gelu": "relu"}, lambda x: x * jax.nn.sigmoid(1.702 * x)) == [
        ("swish(1.702)", "relu")
    ]


def test_a_path_counts_most():
    paths = [site.path for site in find_activations(three, X)]
    rules = {"gelu": "relu", paths[1]: "silu"}
    assert planned(rules) == [("gelu_tanh", "relu"), ("gelu", "silu")]
    with pytest.raises(NoSiteError, match=r"tanh\[99\]"):
        planned({"gelu": "relu", "tanh[99]": "relu"})


def test_own_and_unknown_functions():
    def swoosh(z):
        return jnp.where(z > 0, z * z / (1 + z * z), 0.1 * jnp.expm1(z))

    def fn(x):
        return 2 * swoosh(x @ W)

    mine = activation(swoosh, name="swoosh")
    kernel = (unit_kernel(), "relu")
    for rules in ({mine: kernel}, {swoosh: kernel}, {"unknown": kernel}):
        np.testing.assert_allclose(switch(fn, rules)(X), 2 * TAU(X @ W), rtol=1e-6)
    assert planned({mine: "relu"}, fn) == [("swoosh", "relu")]
    (site,) = find_activations(fn, X)
    assert planned({site.activation: "relu"}, fn)[0][1] == "relu"


def test_a_site_within_a_site_is_replaced_where_it_is_used():
    def fn(x):
        share = jax.nn.sigmoid(x)
        return share, x * share

    only_silu = switch(fn, {"silu": (unit_kernel(), "relu")})(X)
    np.testing.assert_allclose(only_silu[0], jax.nn.sigmoid(X))
    np.testing.assert_allclose(only_silu[1], TAU(X))
    only_share = switch(fn, {"sigmoid": (unit_kernel(), "relu")})(X)
    np.testing.assert_allclose(only_share[0], TAU(X))
    np.testing.assert_allclose(only_share[1], jax.nn.silu(X))


# ---------------------------------------------------------------------- tracing


def test_eager_calls_trace_once_for_each_signature():
    calls = []

    def fn(params, x, *, train=False):
        calls.append(x.shape)
        return jax.jit(lambda x: GELU(x @ params))(x) * (2 if train else 1)

    switched = switch(fn, RELU)
    for _ in range(5):
        switched(W, X)
    assert len(calls) == 1
    np.testing.assert_allclose(switched(W, X, train=True), 2 * switched(W, X))
    switched(W, X[:2])
    switched(W, X.astype(jnp.bfloat16))
    assert len(calls) == 4
    step = jax.jit(jax.grad(lambda x: switched(W, x).sum()))
    for _ in range(3):
        step(X)
    assert len(calls) == 5


def test_a_jitted_body_is_compiled_once():
    """Also where the function itself is traced again: for captured arrays and under grad."""
    layer = jax.jit(lambda w, x: GELU(x @ w))
    switched = switch(lambda x: layer(W, layer(W, x)), RELU)
    bodies = set()
    for _ in range(3):
        jaxpr = jax.make_jaxpr(switched)(X)
        bodies |= {id(e.params["jaxpr"]) for e in jaxpr.eqns if e.primitive.name == "jit"}
        assert len(bodies) == 1


def test_captured_arrays_are_seen_anew():
    held = {"w": W}
    switched = switch(lambda x: GELU(x @ held["w"]), RELU)
    np.testing.assert_allclose(switched(X), TAU(X @ W), rtol=1e-6)
    held["w"] = -W
    np.testing.assert_allclose(switched(X), TAU(-X @ W), rtol=1e-6)


def test_no_tracer_leaks():
    def loss(w):
        switched = switch(lambda x: GELU(x @ w), RELU)
        return switched(X).sum() + switched(X).sum()

    with jax.checking_leaks():
        got = jax.jit(jax.grad(loss))(W)
    np.testing.assert_allclose(got, jax.grad(lambda w: 2 * TAU(X @ w).sum())(W), rtol=1e-5)


def test_size_of_a_named_axis_is_not_kept():
    switched = switch(lambda x: GELU(x / jax.lax.psum(1.0, "b")), RELU)
    for size in (2, 4):
        x = jnp.ones((size, 3))
        np.testing.assert_allclose(jax.vmap(switched, axis_name="b")(x), x / size)


def test_signature_name_and_static_arguments():
    def apply(params, x, train: bool = False):
        """Apply the model."""
        return GELU(x @ params) if train else x @ params

    switched = switch(apply, RELU)
    assert inspect.signature(switched) == inspect.signature(apply)
    assert (switched.__name__, switched.__doc__) == ("apply", "Apply the model.")
    jitted = jax.jit(switched, static_argnames="train")
    np.testing.assert_allclose(jitted(W, X, train=True), TAU(X @ W), rtol=1e-6)
    np.testing.assert_allclose(switched(W, X, True), TAU(X @ W), rtol=1e-6)


def test_arguments_and_results_of_every_kind():
    class Config:
        __hash__ = None  # compares by identity

        scale = 2.0

    config = Config()

    def fn(x, config, *rest, note=None):
        return {"y": GELU(config.scale * x), "note": note, "rest": rest, "n": np.float32(1)}

    result = switch(fn, RELU)(np.asarray(X), config, "a", None, note="kept")
    np.testing.assert_allclose(result["y"], TAU(2 * X))
    assert (result["note"], result["rest"]) == ("kept", ("a", None))
    assert switch(GELU, RELU)(-1.0) == 0.0


def test_effects_stay():
    seen = []

    def fn(x):
        jax.debug.callback(lambda v: seen.append(float(v)), x.sum())
        return GELU(x)

    switched = switch(fn, RELU)
    jax.block_until_ready([switched(X), switched(X), jax.jit(switched)(X)])
    jax.effects_barrier()
    assert len(seen) == 3


def test_switching_twice():
    once = switch(lambda x: GELU(x @ W), RELU)
    twice = switch(once, {"relu": (unit_kernel(), "softplus")})
    np.testing.assert_allclose(twice(X), jax.nn.softplus(X @ W), rtol=1e-5)


def test_double_precision(x64):
    x = jnp.asarray(np.asarray(X), jnp.float64)
    result = switch(lambda x: GELU(x @ x.T), RELU)(x)
    assert result.dtype == jnp.float64
    np.testing.assert_array_equal(result, TAU(x @ x.T))


# ----------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("error", "fn", "rules", "options"),
    [
        (UnknownActivationError, GELU, {"geluu": "relu"}, {}),
        (UnknownActivationError, GELU, {"gelu": "rellu"}, {}),
        (UsageError, GELU, {}, {}),
        (UsageError, GELU, "gelu", {}),
        (UsageError, GELU, {"gelu": ("relu", 3)}, {}),
        (UsageError, "gelu", {"gelu": "relu"}, {}),
        (ToleranceError, GELU, {"gelu": "relu"}, {"tol": 0.0}),
        (ToleranceError, GELU, {"gelu": "relu"}, {"tol": float("nan")}),
        (UsageError, GELU, {"gelu": "relu"}, {"tol": 1e-2, "particles": 3}),
        (UsageError, GELU, {"gelu": "relu"}, {"particles": 0}),
        (ShapeError, GELU,
         {"gelu": (ParticleMeasure(np.ones((2, 2)), np.ones((2, 1)), np.ones(2)), "relu")}, {}),
    ],
)  # fmt: skip
def test_bad_rules_are_refused_at_once(error, fn, rules, options):
    with pytest.raises(error, match=r"(?s)given: .*expected: .*do: "):
        switch(fn, rules, **options)


def test_no_site_names_what_was_found():
    with pytest.raises(NoSiteError, match=r"(?s)silu.*jit:silu\[0\].*do: ") as info:
        switch(jax.nn.silu, {"gelu": (unit_kernel(), "relu")})(X)
    assert "gelu" in str(info.value)
    with pytest.raises(NoSiteError, match="none"):
        switch(lambda x: 2 * x, RELU)(X)
    with pytest.raises(TraceError):
        switch(lambda x: GELU(x) if x.sum() > 0 else x, RELU)(X)
