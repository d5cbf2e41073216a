"""PReLU with an array of slopes: found, and switched without an error for every slope."""

from __future__ import annotations

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxbarron as jb
from jaxbarron.errors import NoSiteError, UnreachableTargetError

Z = jnp.asarray(np.linspace(-9.0, 9.0, 1200), jnp.float32).reshape(100, 12)
SLOPES = jnp.asarray([0.25, -0.5, 0.0, 1.0, 3.0, -2.0, 1e-3, 1e4, 0.1, 0.2, 0.3, 0.4], jnp.float32)
W = jnp.asarray(np.random.default_rng(0).normal(size=(12, 12)), jnp.float32)


def linen():
    module = nn.PReLU()
    return module.apply, module.init(jax.random.key(0), Z), ()


def nnx_module():
    graph, state = nnx.split(nnx.PReLU(0.25))
    return (lambda state, x: nnx.merge(graph, state)(x)), state, ()


def equinox_channels():
    return (lambda module, x: jax.vmap(module)(x)), eqx.nn.PReLU(SLOPES), (12,)


def equinox_scalar():
    return (lambda module, x: module(x)), eqx.nn.PReLU(0.25), ()


def haiku():
    def layer(x):
        slopes = hk.get_parameter("slopes", (12,), init=hk.initializers.Constant(0.1))
        return jax.nn.leaky_relu(x, slopes)

    module = hk.without_apply_rng(hk.transform(layer))
    return module.apply, module.init(jax.random.key(0), Z), (12,)


WRITTEN = {
    "where >=": lambda a, z: jnp.where(z >= 0, z, a * z),
    "where >": lambda a, z: jnp.where(z > 0, z, z * a),
    "where <": lambda a, z: jnp.where(z < 0, a * z, z),
    "0 <=": lambda a, z: jnp.where(jnp.less_equal(0.0, z), z, a * z),
    "full": lambda a, z: jnp.where(z > 0, z, jnp.broadcast_to(a, z.shape) * z),
    "reshaped": lambda a, z: jnp.where(z > 0, z, a.reshape(3, 4).reshape(-1) * z),
    "leaky_relu": lambda a, z: jax.nn.leaky_relu(z, a),
}


def near(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("made", [linen, nnx_module, equinox_channels, equinox_scalar, haiku])
def test_layers_of_the_libraries(made):
    apply, parameters, shape = made()
    (site,) = jb.find_activations(apply, parameters, Z)
    assert (site.name, site.shape) == ("prelu", (100, 12))
    assert np.prod(site.slopes) == np.prod(shape)
    assert jb.opaque_parts(apply, parameters, Z) == ()
    for rule in ("prelu", "leaky_relu", site.path):
        ((_, _, kernel, certificate),) = jb.plan_switch(apply, {rule: "relu"}, parameters, Z)
        assert (kernel.particles, certificate.upper, certificate.level) == (1, 0.0, "rigorous")
        assert certificate.where_it_holds == "all of R"
        near(jb.switch(apply, {rule: "relu"})(parameters, Z), apply(parameters, Z))


@pytest.mark.parametrize("form", WRITTEN)
def test_forms_and_transformations(form):
    fn = WRITTEN[form]
    assert [site.name for site in jb.find_activations(fn, SLOPES, Z)] == ["prelu"]
    switched = jb.switch(fn, {"prelu": "relu"})
    near(switched(SLOPES, Z), fn(SLOPES, Z))
    near(jax.jit(switched)(SLOPES, Z), fn(SLOPES, Z))
    near(jax.vmap(switched, (None, 0))(SLOPES, Z), fn(SLOPES, Z))
    jaxpr = str(jax.make_jaxpr(switched)(SLOPES, Z))
    assert "ge " not in jaxpr
    # where no z is 0 the derivatives agree too, that by the slopes among them
    for argnum in (0, 1):
        old, new = (jax.grad(lambda *x, g=g: jnp.sum(g(*x) ** 2), argnum) for g in (fn, switched))
        np.testing.assert_allclose(new(SLOPES, Z), old(SLOPES, Z), rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_the_dtype_stays(dtype):
    fn = WRITTEN["where >"]
    slopes, z = jnp.full(12, 0.25, dtype), Z.astype(dtype)
    got = jb.switch(fn, {"prelu": "relu"})(slopes, z)
    assert got.dtype == dtype
    assert jnp.array_equal(got, fn(slopes, z))


def test_in_a_network_scanned_and_with_slopes_of_the_input():
    def net(p, x):
        return jax.lax.scan(lambda c, a: (jax.nn.leaky_relu(c @ W / 4, a), None), x, p)[0]

    p = jnp.stack([SLOPES / 1e4, -SLOPES / 1e4])
    (site,) = jb.find_activations(net, p, Z)
    assert (site.name, site.path.split("[")[0]) == ("prelu", "scan")
    np.testing.assert_allclose(
        jb.switch(net, {"prelu": "relu"})(p, Z), net(p, Z), rtol=1e-4, atol=1e-5
    )

    def gate(x):
        z = x @ W
        return jnp.where(z > 0, z, jnp.tanh(x) * z)

    assert [s.name for s in jb.find_activations(gate, Z)] == ["tanh", "prelu"]
    near(jb.switch(gate, {"prelu": "relu"})(Z), gate(Z))


def test_other_rules_do_not_speak_of_it():
    fn = WRITTEN["where >"]
    for rule in ("relu", "prelu(0.3)", "leaky_relu(0.01)", "unknown"):
        with pytest.raises(NoSiteError, match="prelu"):
            jb.switch(fn, {rule: "relu"})(SLOPES, Z)


def test_a_target_with_an_error_is_refused_and_reached_in_two_steps():
    fn = WRITTEN["where >"]
    with pytest.raises(UnreachableTargetError, match=r"given: .*expected: .*do: switch"):
        jb.switch(fn, {"prelu": "repu(2)"}, tol=1e-2)(SLOPES, Z)
    first = jb.switch(fn, {"prelu": "relu"})
    plan = jb.plan_switch(first, {"relu": "repu(2)"}, SLOPES, Z, tol=1e-2)
    assert [x.site.name for x in plan] == ["relu", "relu"]
    second = jb.switch(first, {"relu": "repu(2)"}, tol=1e-2)
    change = jnp.abs(second(SLOPES, Z) - fn(SLOPES, Z))
    bound = plan[0].certificate.upper * (1 + jnp.abs(SLOPES))
    assert jnp.all(change <= bound * (1 + 1e-4) + 1e-5)
    assert jnp.any(change > 0.1 * bound)


def test_a_given_kernel_counts_twice():
    kernel, _ = jb.certified_kernel("relu", "repu(2)", tol=1e-2)
    fn = WRITTEN["where >"]
    kappa = jb.kernel_as_activation(kernel, "repu(2)")
    got = jb.switch(fn, {"prelu": (kernel, "repu(2)")})(SLOPES, Z)
    np.testing.assert_allclose(got, kappa(Z) - SLOPES * kappa(-Z), rtol=1e-5, atol=1e-5)


def test_end_to_end_it_is_the_sum_of_two_sites():
    slopes, w = jnp.asarray([0.25, -0.5, 1.5]), jnp.asarray([[1.0, -2.0, 0.5], [0.3, 1.0, -1.0]])

    def net(x):
        return jnp.sum(WRITTEN["where >"](slopes, x @ w))

    box = jb.Box(-jnp.ones(2), jnp.ones(2))
    exact = jb.end_to_end_bound(net, {"prelu": "relu"}, jnp.zeros((1, 2)), box=box)
    assert exact.level == "rigorous"
    assert exact.largest < 1e-290  # outward rounding of zero
    kernel, certificate = jb.certified_kernel("relu", "repu(2)", tol=1e-2)
    rules = {"prelu": (kernel, "repu(2)")}
    bound = jb.end_to_end_bound(net, rules, jnp.zeros((1, 2)), box=box)
    x = jax.random.uniform(jax.random.key(0), (5000, 1, 2), minval=-1.0)
    change = jax.vmap(lambda x: jb.switch(net, rules)(x) - net(x))(x)
    sizes = certificate.upper * float(jnp.sum(1 + jnp.abs(slopes)))
    assert float(jnp.abs(change).max()) <= bound.largest <= sizes * (1 + 1e-6)


def test_an_array_in_another_activation_is_named():
    def fn(a, z):
        return jnp.where(z > 0, z, a * jnp.expm1(z))

    assert jb.find_activations(fn, SLOPES, Z) == ()
    assert len(jb.opaque_parts(fn, SLOPES, Z)) == 1
    with pytest.raises(NoSiteError, match="not rewritable: jit"):
        jb.switch(fn, {"elu": "relu"})(SLOPES, Z)
    for other in (jax.nn.leaky_relu, jax.nn.elu, lambda x: jnp.where(x > 0, x, -1e9) * x[:1]):
        assert jb.opaque_parts(other, Z) == ()
    for none in (
        lambda a, z: jnp.where(z > 1, z, a * z),  # another corner, and no continuous function
        lambda a, z: jnp.where(z > 0, z, a * (z + 1)),
        lambda a, z: jnp.where(z > 0, a * z, a * z * z),
    ):
        assert "prelu" not in [s.name for s in jb.find_activations(none, SLOPES, Z)]


def test_the_mask_decides_which_branch_is_which(monkeypatch):
    for fn in (
        lambda a, z: jnp.where(z > 0, a * z, z),
        lambda a, z: jnp.where(z <= 0, z, a * z),
        lambda a, z: jnp.where(jnp.greater(0.0, z), z, a * z),
    ):
        assert jb.find_activations(fn, SLOPES, Z) == ()
        assert len(jb.opaque_parts(fn, SLOPES, Z)) == 1
    # Planted fault: blind to the side, the first would be switched to another function.
    upper = dict.fromkeys(("gt", "ge", "lt", "le"), False)
    monkeypatch.setattr("jaxbarron.switching.slopes._UPPER", upper)

    def fn(a, z):
        return jnp.where(z > 0, a * z, z)

    assert jnp.abs(jb.switch(fn, {"prelu": "relu"})(SLOPES, Z) - fn(SLOPES, Z)).max() > 1
