"""What is observed at the sites, by the search, and proved in boxes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbarron as jb
from jaxbarron.report.attack import ascend
from jaxbarron.report.candidates import asked_way, other_ways, size_in_words
from jaxbarron.report.certified import certified_changes, margin_that_decides
from jaxbarron.report.recording import Observer, kernel_error, site_reports
from jaxbarron.report.single_particle import fitted_particle
from jaxbarron.report.subject import model_of
from jaxbarron.report.worth import sparsity_of
from jaxbarron.switching.metrics import ACCURACY

RNG = np.random.default_rng(0)
W = [RNG.normal(size=s).astype(np.float32) for s in ((3, 8), (8, 8), (8, 4))]
X = RNG.normal(size=(24, 3)).astype(np.float32)
Y = RNG.integers(0, 4, 24)


def net(w, x):
    return jax.nn.gelu(jax.nn.gelu(x @ w[0]) @ w[1]) @ w[2]


@pytest.fixture(scope="module")
def model():
    return model_of("the model", net, W, X, Y, ACCURACY, 8)


def relu_switch(model, **demand):
    return jb.plan_switch(model.apply, {"gelu": "relu"}, model.parameters, model.batch, **demand)


def observer(model, planned, most):
    paths = [plan.site.path for plan in planned]
    return Observer(model.apply, model.parameters, model.inputs, 8, paths, most)


def test_sites_are_seen_as_they_are(model):
    planned = relu_switch(model, direct=True)
    watch = observer(model, planned, 100)
    assert watch.examples == 24
    found = watch.observe(planned)
    z = X @ W[0]
    old, new = np.asarray(jax.nn.gelu(z)), np.maximum(z, 0)
    first = found[planned[0].site.path]
    np.testing.assert_allclose(first.before, [[z.min(), z.max()], [old.min(), old.max()]], 1e-6)
    np.testing.assert_allclose(first.after[1], [new.min(), new.max()], 1e-6)
    assert first.count == z.size
    assert first.zeros.tolist() == [int((old == 0).sum()), int((z <= 0).sum())]
    assert first.carried == pytest.approx(np.abs(new - old).max(), rel=1e-5)
    then = np.abs(np.maximum(new @ W[1], 0) - np.asarray(jax.nn.gelu(old @ W[1]))).max()
    assert found[planned[1].site.path].carried == pytest.approx(then, rel=1e-5)
    assert sparsity_of(found).after > 0.3 > sparsity_of(found).before
    reports = site_reports(planned, found, size_in_words)
    for site, plan in zip(reports, planned, strict=True):
        assert site.observed <= site.certified == plan.certificate.upper
        assert sum(site.density.share) == pytest.approx(site.density.shown)
    # of the first site nothing is carried but its own error
    assert reports[0].carried == pytest.approx(reports[0].observed, rel=1e-4)


def test_sites_in_loops_are_seen_each_time():
    def looped(w, x):
        x, _ = jax.lax.scan(lambda x, _: (jax.nn.gelu(x @ w), None), x, length=3)
        return jax.lax.while_loop(
            lambda s: s[0] < 2, lambda s: (s[0] + 1, jnp.tanh(s[1])), (jnp.sum(x) * 0, x)
        )[1]

    w = RNG.normal(size=(3, 3)).astype(np.float32)
    planned = jb.plan_switch(looped, {"gelu": "relu", "tanh": "relu"}, w, X[:4], tol=1e-2)
    found = Observer(looped, w, X, 4, [p.site.path for p in planned], 8).observe(planned)
    assert [found[p.site.path].count for p in planned] == [2 * 4 * 3 * 3, 2 * 4 * 3 * 2]


def test_ascent_finds_the_corner_and_stays_in_its_box():
    starts = jnp.asarray(X[:5])

    def change(x):
        return jnp.abs(x @ jnp.array([1.0, -2.0, 0.5]) + 40.0)

    run = jax.jit(lambda key: ascend(change, starts, 0.1, key, restarts=2, steps=12))
    points = run(jax.random.key(0))
    assert float(jnp.abs(points - starts).max()) <= 0.1 + 1e-6
    np.testing.assert_allclose(change(points), change(starts) + 0.35, rtol=1e-4)
    np.testing.assert_array_equal(points, run(jax.random.key(0)))
    # where nothing is found the start itself is given back
    np.testing.assert_array_equal(
        ascend(lambda x: -jnp.sum((x - starts) ** 2, axis=1), starts, 0.1, jax.random.key(0)),
        starts,
    )


def test_the_margin_decides_and_no_smaller_one_does():
    rng = np.random.default_rng(2)
    for _ in range(200):
        lower = -rng.uniform(0, 1, 5)
        upper = lower + rng.uniform(0, 1, 5)
        delta = margin_that_decides(lower, upper)
        before = rng.normal(size=(50, 5))
        after = before + rng.uniform(lower, upper, (50, 5))
        ordered = np.sort(before, axis=1)
        decided = ordered[:, -1] - ordered[:, -2] > delta
        assert (before.argmax(1) == after.argmax(1))[decided].all()
    # the worst pair: just below that margin the class may change
    i, j = np.unravel_index(np.argmax(upper[None] - lower[:, None] - 9 * np.eye(5)), (5, 5))
    before = np.full(5, -10.0)
    before[i], before[j] = 0.99 * delta, 0.0
    after = before + lower
    after[j] = before[j] + upper[j]
    assert after.argmax() == j != i == before.argmax()


def test_proofs_hold_what_the_search_finds(model):
    demand = {"tol": 1e-2, "particles": None, "reach": None, "direct": False}
    (found,) = certified_changes(model, {"gelu": "relu"}, demand, [5], 0.05, {5: 1e-3})
    assert found.level == "rigorous"
    new = jb.switch(net, {"gelu": "relu"}, tol=1e-2)
    points = X[5] + np.random.default_rng(0).uniform(-0.05, 0.05, (500, 3)).astype(np.float32)
    change = np.asarray(new(W, points) - net(W, points))
    assert (change >= np.array(found.lower) - 1e-5).all()
    assert (change <= np.array(found.upper) + 1e-5).all()
    assert found.margin >= found.largest > np.abs(change).max()


def test_the_single_particle_is_the_best_of_its_kind():
    z = RNG.normal(size=3000)
    gelu, relu = jb.activation("gelu"), jb.activation("relu")
    kernel = fitted_particle(gelu, relu, z)
    error = np.mean(kernel_error(kernel, gelu, relu, z) ** 2)
    plain = np.mean(kernel_error(jb.unit_kernel(), gelu, relu, z) ** 2)
    assert error < 0.6 * plain
    for a in np.linspace(0.7, 1.3, 13):  # no other of a grid is better
        for b in np.linspace(-0.6, 0.6, 13):
            other = jb.ParticleMeasure(np.array([[a]]), np.array([[1.0]]), np.array([b]))
            assert np.mean(kernel_error(other, gelu, relu, z) ** 2) > 0.999 * error
    # a target without homogeneity has a slope to fit
    tanh, half = jb.activation("tanh"), jb.activation(lambda z: 2 * jnp.tanh(z / 2), name="half")
    free = fitted_particle(half, tanh, z)
    assert np.abs(kernel_error(free, half, tanh, z)).max() < 1e-3


def test_candidates_are_named_sorted_and_not_repeated(model):
    planned = relu_switch(model, particles=4)
    asked = asked_way(planned)
    found = observer(model, planned, 8).observe(planned)
    ways, missing = other_ways(model, {"gelu": "relu"}, None, asked, (8, 4, 1), found)
    assert [way.name for way in ways] == ["one for one", "one scaled particle", "K = 8"]
    assert [name for name, _ in missing] == ["K = 1"]
    assert [way.kind for way in (asked, *ways)] == [
        "kernel switch", "plain replacement", "plain replacement", "kernel switch",
    ]  # fmt: skip
    assert ways[0].words == "relu, one for one"
    assert ways[0].numbers == 0
    assert ways[2].numbers == 2 * 3 * 8
    assert ways[1].worst.reach < np.inf
    np.testing.assert_allclose(ways[0].switched(net)(W, X), np.maximum(
        np.maximum(X @ W[0], 0) @ W[1], 0) @ W[2], rtol=1e-4, atol=1e-5)  # fmt: skip
