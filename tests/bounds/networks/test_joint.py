"""Bounds over all neurons together, attacked; their parts against dense arithmetic."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_networks import dense

import jaxbarron as jb
from jaxbarron.bounds.networks import joint as joint_module
from jaxbarron.bounds.networks import multipliers, refined
from jaxbarron.bounds.networks.bends import bend_of
from jaxbarron.bounds.networks.bound import network_difference
from jaxbarron.bounds.networks.cells import Cells, Pair
from jaxbarron.bounds.networks.expansions import Symbols, joint_norm, largest_eigenvalue
from jaxbarron.bounds.networks.forms import Group
from jaxbarron.bounds.networks.graph import Elementwise
from jaxbarron.bounds.networks.relaxations import View
from jaxbarron.certificates import NetworkCertificate
from jaxbarron.domains import Ball, Box
from jaxbarron.errors import UsageError
from jaxbarron.programs import trace
from jaxbarron.switching import switch
from jaxbarron.switching.end_to_end import end_to_end_bound
from jaxbarron.switching.networks import network_with_rules
from jaxbarron.switching.rules import Demand

RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def doubles(x64):
    """Attacks are computed in double precision."""


def convolution(x: Any) -> Any:
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(3, 3, 1, 3)) / 3, rng.normal(size=(12, 2)) / 3
    y = jax.lax.conv_general_dilated(
        x.reshape(1, 5, 5, 1), first, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jnp.exp(0.3 * (jax.nn.silu(y).reshape(-1) @ second))


def attacked(old: Any, new: Any, points: Any, project: Any, scale: float) -> tuple[Any, Any]:
    """The least and largest changes along projected ascent, half of the points each way."""
    change = jax.jit(jax.vmap(lambda x: jnp.ravel(new(x) - old(x))))
    count = change(points[:1]).shape[1]
    column = jnp.arange(len(points)) % count
    sign = jnp.where((jnp.arange(len(points)) // count) % 2 == 0, 1.0, -1.0)
    slope = jax.jit(jax.grad(
        lambda x: jnp.sum(sign * change(x)[jnp.arange(len(points)), column])))  # fmt: skip
    least, most = np.full(count, np.inf), np.full(count, -np.inf)
    for step in range(10):
        found = np.asarray(change(points))
        least, most = np.minimum(least, found.min(0)), np.maximum(most, found.max(0))
        points = project(points + scale * 0.5 * (1 - step / 10) * np.sign(slope(points)))
    return least, most


CASES = [
    (dense([2, 6, 1], jnp.tanh, 0), 2, "tanh", 0.3, 8),
    (dense([3, 9, 9, 2], lambda z: jax.nn.gelu(z, approximate=False), 1), 3, "gelu", 0.1, 6),
    (dense([4, 4, 4, 4, 3], jax.nn.silu, 2, residual=True), 4, "silu", 0.2, 12),
    (convolution, 25, "silu", 0.1, 9),
    (lambda x: jnp.tanh(dense([3, 8, 8, 2], jnp.tanh, 4)(x)), 3, "tanh", 0.02, 17),
]


@pytest.mark.parametrize(
    ("case", "kind"), [(1, "box"), (2, "box"), (3, "box"), (4, "box"), (0, 1), (0, 2)]
)
def test_the_bound_holds_under_attack_and_is_no_worse(case: int, kind: Any):
    old, size, source, radius, particles = CASES[case]
    x = np.random.default_rng(case).normal(size=size)
    region: dict[str, Any] = (
        {"box": Box(x - radius, x + radius)} if kind == "box" else {"ball": Ball(radius, ord=kind)}
    )
    rules = {source: "relu"}
    plain = end_to_end_bound(old, rules, x, particles=particles, **region)
    bound = end_to_end_bound(old, rules, x, particles=particles, joint=30, **region)
    assert bound.level == plain.level == "rigorous"
    assert bound.parabolas is not None
    assert np.all(bound.upper[0] <= plain.upper[0])
    assert np.all(bound.lower[0] >= plain.lower[0])

    def project(points: Any) -> Any:
        away = np.asarray(points) - x
        if kind == "box":
            return x + np.clip(away, -radius, radius)
        norm = np.linalg.norm(away, ord=kind, axis=1, keepdims=True)
        return x + away * np.minimum(1.0, radius / np.maximum(norm, 1e-30))

    points = project(x + radius * np.random.default_rng(case).uniform(-1, 1, size=(40, size)))
    new = switch(old, rules, particles=particles)
    least, most = attacked(old, new, points, project, radius)
    assert np.all(bound.lower[0].ravel() <= least + 1e-13)
    assert np.all(most - 1e-13 <= bound.upper[0].ravel())


def small_network() -> tuple[Any, Box, Any]:
    old, size, source, radius, particles = CASES[1]
    x = np.random.default_rng(1).normal(size=size)
    box = Box(x - radius, x + radius)
    demand = Demand(None, particles, None, False)
    network, _ = network_with_rules(old, {source: "relu"}, (x,), 0, demand)
    new = switch(old, {source: "relu"}, particles=particles)
    points = x + radius * np.random.default_rng(7).uniform(-1, 1, size=(60, size))

    def clip(points: Any) -> Any:
        return np.clip(points, x - radius, x + radius)

    return network, box, attacked(old, new, points, clip, radius)


def test_any_multipliers_give_a_true_bound():
    network, box, (least, most) = small_network()
    found = network_difference(network, box, joint=3)
    assert found.parabolas is not None
    (given,) = found.parabolas
    assert given is not None
    for scale in (0.0, 1e-4, 1e-3, 1e-2, 0.1):
        for adjoint in (False, True):
            other = refined.Parabolas(
                scale * RNG.normal(size=given.linear.shape),
                scale * RNG.normal(size=given.quadratic.shape),
                np.exp(RNG.normal(size=given.weights.shape)),
                np.full(given.adjoint.shape, adjoint),
            )
            again = network_difference(network, box, parabolas=[other])
            assert np.all(again.lower[0] <= least)
            assert np.all(again.upper[0] >= most)


def test_numbers_that_overflow_end_the_search_or_give_no_bound(monkeypatch):
    network, box, _ = small_network()
    plain = network_difference(network, box)
    found = network_difference(network, box, joint=3)
    assert found.parabolas is not None
    (given,) = found.parabolas
    assert given is not None
    huge = dataclasses.replace(given, quadratic=np.full(given.quadratic.shape, multipliers.LARGEST))
    again = network_difference(network, box, parabolas=[huge])
    assert np.array_equal(again.upper[0], plain.upper[0])

    def far(problem: Any) -> Any:  # the search starts where its matrices overflow
        return np.full(2 * problem.count + problem.joint.symbols.count, 1e308)

    monkeypatch.setattr(multipliers._Problem, "start", far)  # pyright: ignore[reportPrivateUsage]
    again = network_difference(network, box, joint=3)
    assert np.all(again.upper[0] <= plain.upper[0])


def test_it_is_sharper_where_many_neurons_share_few_inputs():
    old = dense([3, 48, 1], jnp.tanh, 0)
    x = np.zeros(3)
    box = Box(x - 0.1, x + 0.1)
    plain = end_to_end_bound(old, {"tanh": "relu"}, x, box=box, particles=17)
    bound = end_to_end_bound(old, {"tanh": "relu"}, x, box=box, particles=17, joint=90)
    new = switch(old, {"tanh": "relu"}, particles=17)
    points = RNG.uniform(-0.1, 0.1, size=(200, 3))
    least, most = attacked(old, new, points, lambda p: np.clip(p, -0.1, 0.1), 0.1)
    assert bound.largest < 0.65 * plain.largest
    assert bound.largest < 1.6 * max(-least.min(), most.max())


@pytest.mark.parametrize("fault", ["peaks", "quadratic", "linear", "slopes", "bends"])
def test_a_planted_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch):
    """Each part of the bound matters: without it an attack finds more than is claimed."""
    sizes, radius, particles = ([3, 48, 1], 0.1, 17)
    if fault == "slopes":
        sizes, radius, particles = [2, 24, 24, 1], 1.0, 9
    old, x = dense(sizes, jnp.tanh, 3 if fault == "slopes" else 0), np.zeros(sizes[0])
    demand = Demand(None, particles, None, False)
    network, _ = network_with_rules(old, {"tanh": "relu"}, (x,), 0, demand)
    box = Box(x - radius, x + radius)
    new = switch(old, {"tanh": "relu"}, particles=particles)
    points = RNG.uniform(-radius, radius, size=(200, sizes[0]))
    least, most = attacked(old, new, points, lambda p: np.clip(p, -radius, radius), radius)
    found = network_difference(network, box, joint=1).parabolas
    assert found is not None
    assert found[0] is not None
    none = np.zeros_like(found[0].linear)
    level = dataclasses.replace(found[0], linear=none, quadratic=none)
    if fault == "peaks":
        real = View.peak
        monkeypatch.setattr(View, "peak", lambda *a: 0.3 * real(*a))
    elif fault == "quadratic":
        monkeypatch.setattr(Symbols, "quadratic", lambda *a: -1.0)
    elif fault == "linear":
        monkeypatch.setattr(Symbols, "linear", lambda self, rows: np.zeros(len(rows)))
    elif fault == "slopes":
        monkeypatch.setattr(refined, "second_order", lambda *a: -0.5)
    else:
        real_bend = joint_module.bend_of

        def narrow(node: Any, centre: Any, reach: Any) -> Any:
            return real_bend(node, centre, 0.02 * reach)

        monkeypatch.setattr(joint_module, "bend_of", narrow)
    steps = 0 if fault in ("linear", "bends") else 30
    bound = network_difference(network, box, joint=steps, parabolas=None if steps else [level])
    held = np.all(bound.lower[0] <= least) and np.all(bound.upper[0] >= most)
    assert not held


def test_parabolas_are_kept_in_the_certificate_and_checked(tmp_path):
    old, size, source, radius, particles = CASES[1]
    x = np.random.default_rng(1).normal(size=size)
    box = Box(x - radius, x + radius)
    rules = {source: "relu"}
    plain = jb.end_to_end_certificate(old, rules, x, box=box, particles=particles)
    made = jb.end_to_end_certificate(old, rules, x, box=box, particles=particles, joint=30)
    assert made.upper < plain.upper
    assert made.theorem == "Theorem Joint parabolas"
    jb.save(made, tmp_path / "c.json")
    loaded = jb.load(tmp_path / "c.json")
    assert isinstance(loaded, NetworkCertificate)
    assert jb.verify(loaded)
    assert loaded.upper == made.upper
    # the same claim without its multipliers, or with others, is not proved
    bare = dataclasses.replace(made.bound, parabolas=None)
    theorem = "Theorem Differential propagation"
    assert not jb.verify(dataclasses.replace(made, bound=bare, theorem=theorem))
    (given,) = made.bound.parabolas
    zero = dataclasses.replace(given, quadratic=np.zeros_like(given.quadratic))
    bad = dataclasses.replace(made.bound, parabolas=(zero,))
    assert not jb.verify(dataclasses.replace(made, bound=bad))
    for spoilt in (
        dataclasses.replace(given, weights=-given.weights),
        dataclasses.replace(given, linear=given.linear * np.nan),
        dataclasses.replace(given, linear=given.linear[:, :, 1:]),
    ):
        bad = dataclasses.replace(made.bound, parabolas=(spoilt,))
        found = jb.verify(dataclasses.replace(made, bound=bad))
        assert not found
        assert "joint bound" in found.reason


def test_products_have_no_joint_bound_and_lose_nothing():
    def net(x: Any) -> Any:
        return jnp.sum(jnp.tanh(x) * jnp.tanh(2 * x))

    box = Box([0.0, 0.0], [0.1, 0.1])
    plain = end_to_end_bound(net, {"tanh": "relu"}, jnp.zeros(2), box=box, tol=1e-2)
    bound = end_to_end_bound(net, {"tanh": "relu"}, jnp.zeros(2), box=box, tol=1e-2, joint=10)
    assert bound.largest == plain.largest
    assert bound.parabolas == (None,)
    with pytest.raises(UsageError, match="joint=-1"):
        end_to_end_bound(net, {"tanh": "relu"}, jnp.zeros(2), box=box, tol=1e-2, joint=-1)


def test_a_point_is_a_region_too():
    old = dense([3, 8, 2], jnp.tanh, 0)
    x = np.ones(3)
    bound = end_to_end_bound(old, {"tanh": "relu"}, x, box=Box(x, x), particles=8, joint=5)
    change = np.asarray(switch(old, {"tanh": "relu"}, particles=8)(x) - old(x))
    assert np.all(np.abs(bound.upper[0] - change) < 1e-8)
    assert np.all((bound.lower[0] <= change) & (change <= bound.upper[0]))


# ------------------------------------------------------------------------- parts


def test_eigenvalues_and_norms_are_bounded_closely():
    for size in (1, 2, 7, 30):
        for shift in (-3.0, 0.0, 2.0):
            m = RNG.normal(size=(size, size))
            m = m + m.T + shift * np.eye(size)
            true = np.linalg.eigvalsh(m)[-1]
            bound = largest_eigenvalue(m)
            assert true <= bound <= true + 1e-9 * size
    parts = [(RNG.normal(size=(6, n)), float(r)) for n, r in ((4, 0.5), (9, 2.0), (3, 1e-9))]
    bound = joint_norm(parts)
    for _ in range(200):
        vectors = [RNG.normal(size=a.shape[1]) for a, _ in parts]
        total = sum(
            a @ (v / np.linalg.norm(v) * r) for (a, r), v in zip(parts, vectors, strict=True)
        )
        assert np.linalg.norm(total) <= bound


def test_quadratic_forms_on_boxes_and_balls():
    m = RNG.normal(size=(5, 5))
    m = m + m.T
    weights = np.exp(RNG.normal(size=5))
    corners = np.array(list(itertools.product([-1.0, 1.0], repeat=5)))
    values = np.einsum("ni,ij,nj->n", corners, m, corners)
    assert values.max() <= Symbols(5, None).quadratic(m, 0.0, weights)
    ball = Symbols(5, Group(5, 2))
    assert abs(ball.quadratic(m, 0.0, weights) - np.linalg.eigvalsh(m)[-1]) < 1e-9
    assert 0 <= ball.quadratic(-m @ m.T, 0.0, weights) < 1e-300


def test_bends_hold_at_random_points():
    for function, act in ((jnp.tanh, np.tanh), (jax.nn.silu, lambda z: z / (1 + np.exp(-z)))):
        cells = Cells(Pair(trace(function)))
        centre, reach = RNG.normal(size=50), np.exp(RNG.normal(size=50) - 1)
        bend = bend_of(Elementwise(50, 0, cells, None, "f"), centre, reach)
        t = RNG.uniform(-1, 1, size=(400, 50)) * reach
        w = act(centre + t) - bend.value - bend.slope * t
        off = np.abs(w - bend.curve * t**2 / 2)
        assert np.all(off <= bend.rate * t**2 + bend.rest + 1e-14)
        assert np.all(np.abs(w) <= bend.size + 1e-14)
        u = RNG.uniform(-1, 1, size=(400, 50)) * reach
        apart = np.abs(u - t) > 1e-3
        slope = (act(centre + u) - act(centre + t)) / np.where(apart, u - t, 1.0)
        off = np.abs(slope - bend.slope - bend.curve * (t + u) / 2)
        most = bend.tilt_rate * np.maximum(np.abs(t), np.abs(u)) + bend.tilt_rest
        assert np.all((off <= most + 1e-11) | ~apart)


def test_peaks_are_the_largest_values():
    cells = Cells(Pair(trace(jnp.sin)))
    values, _, _ = cells.tables(-3.0, 3.0)
    lower = RNG.uniform(-3, 2.5, size=40)
    upper = lower + RNG.uniform(0, 0.5, size=40)
    origin, scale, slope, bend = RNG.normal(size=(4, 40))
    found = View(values, lower, upper).peak(origin, scale, slope, bend)
    z = lower + np.linspace(0, 1, 4001)[:, None] * (upper - lower)
    t = z - origin
    true = np.max(scale * np.sin(z) + slope * t + bend * t * t, axis=0)
    assert np.all(true <= found)
    assert np.all(found <= true + 1e-6)


def test_a_radius_that_is_not_known_gives_no_bound():
    unknown = joint_norm([(np.eye(2), float("nan")), (np.eye(2), 1.0)])
    assert not unknown < np.inf
