"""Bounds on the change of whole networks, attacked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_networks import dense

from jaxbarron.bounds.networks import differential
from jaxbarron.bounds.networks.bound import DifferenceBound
from jaxbarron.bounds.networks.relaxations import Lines
from jaxbarron.domains import Box
from jaxbarron.errors import ShapeError, UsageError
from jaxbarron.switching import switch
from jaxbarron.switching.end_to_end import end_to_end_bound

Function = Callable[[Any], Any]
ACTIVATIONS: dict[str, Function] = {
    "tanh": jnp.tanh,
    "gelu": lambda z: jax.nn.gelu(z, approximate=False),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
}


@pytest.fixture(autouse=True)
def doubles(x64):
    """Attacks are computed in double precision: they must not see the rounding of float32."""


def attack(old: Function, new: Function, box: Box, seed: int, starts: int = 30, steps: int = 12):
    """The largest and smallest changes found: random points and corners, then ascent."""
    rng = np.random.default_rng(seed)
    low, high = np.asarray(box.lower), np.asarray(box.upper)
    points = low + (high - low) * rng.uniform(size=(starts, low.size))
    points[::3] = np.where(rng.uniform(size=points[::3].shape) < 0.5, low, high)
    change = jax.jit(jax.vmap(lambda x: jnp.ravel(new(x) - old(x))))
    count = change(points[:1]).shape[1]
    columns = jnp.arange(starts) % count
    signs = jnp.where((jnp.arange(starts) // count) % 2 == 0, 1.0, -1.0)
    slope = jax.jit(jax.grad(
        lambda x: jnp.sum(signs * change(x)[jnp.arange(starts), columns])))  # fmt: skip
    most, least = np.full(count, -np.inf), np.full(count, np.inf)
    for step in range(steps):
        found = np.asarray(change(points))
        most, least = np.maximum(most, found.max(0)), np.minimum(least, found.min(0))
        reach = (high - low) * 0.3 * (1 - step / steps)
        points = np.clip(points + reach * np.sign(slope(points)), low, high)
    return least, most


def around(x: Any, radius: float) -> Box:
    return Box(np.ravel(x) - radius, np.ravel(x) + radius)


def assert_holds(bound: DifferenceBound, least: np.ndarray, most: np.ndarray) -> None:
    assert bound.level == "rigorous"
    assert bound.ends_at is None
    # what is measured carries the rounding of a few hundred double operations
    assert np.all(bound.lower[0].ravel() <= least + 1e-13)
    assert np.all(most <= bound.upper[0].ravel() + 1e-13)


def bracket(fn: Function, rules: dict[Any, Any], x: Any, radius: float, seed: int = 0, **demand):
    box = around(x, radius)
    bound = end_to_end_bound(fn, rules, jnp.asarray(x), box=box, **demand)
    least, most = attack(fn, switch(fn, rules, **demand), box, seed)
    assert_holds(bound, least, most)
    return bound, max(np.max(np.abs(least)), np.max(np.abs(most)))


@pytest.mark.parametrize("seed", range(5))
def test_no_attack_breaks_the_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    name = list(ACTIVATIONS)[seed % 4]
    depth, outputs = 1 + seed % 4, 1 + seed % 3
    sizes = [int(rng.integers(2, 7)), *rng.integers(3, 17, size=depth), outputs]
    fn = dense(sizes, ACTIVATIONS[name], seed, residual=seed % 2 == 0)
    bracket(fn, {name: "relu"}, rng.normal(size=sizes[0]), 10 ** rng.uniform(-3, 0.3), seed,
            particles=8)  # fmt: skip


@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_the_bound_of_a_wide_network_is_near_the_attack(name: str) -> None:
    fn = dense((16, 48, 48, 1), ACTIVATIONS[name], 0)
    x = np.random.default_rng(5).normal(size=16)
    bound, found = bracket(fn, {name: "relu"}, x, 0.05, particles=32)
    assert bound.largest <= 7 * found  # measured 4.3 and 5.3
    assert sum(part for _, part in bound.by_site) >= bound.largest * (1 - 1e-9)


def test_one_neuron_a_layer_is_bounded_almost_exactly() -> None:
    def fn(x):
        return 3 * jnp.tanh(2 * jnp.tanh(x) + 0.3)

    bound, found = bracket(fn, {"tanh": "relu"}, [0.4], 0.01, particles=8)
    assert found <= bound.largest <= 1.05 * found


def chain(x):
    return jnp.tanh(2 * jnp.tanh(1.5 * x) + 0.3)


FAULTS = ["a site without its error", "too narrow a range", "no spread of slopes"]


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == FAULTS[0]:
        honest = differential.Analysis._function

        def forgetful(self, index, node):
            form = honest(self, index, node)
            if node.site == 0:
                local = self._locals[index]
                self._locals[index] = differential._Local(local.slopes)
            return form

        monkeypatch.setattr(differential.Analysis, "_function", forgetful)
    else:
        lines_of = differential.enclosing_lines

        def narrow(table, lower, upper, **options):
            if fault == FAULTS[1]:
                middle, half = (lower + upper) / 2, (upper - lower) / 40
                return lines_of(table, middle - half, middle + half, **options)
            middle = (lower + upper) / 2
            found = lines_of(table, middle, middle, **options)
            return Lines(found.slope, found.offset, found.radius)

        monkeypatch.setattr(differential, "enclosing_lines", narrow)
    with pytest.raises(AssertionError):
        bracket(chain, {"tanh": "relu"}, [0.2], 0.3, particles=8)


def test_the_planted_faults_network_holds_without_fault() -> None:
    bound, found = bracket(chain, {"tanh": "relu"}, [0.2], 0.3, particles=8)
    assert bound.largest <= 2 * found


def test_a_replacement_one_for_one() -> None:
    fn = dense((3, 8, 8, 2), ACTIVATIONS["gelu"], 4)
    bound, found = bracket(fn, {"gelu": "relu"}, [0.1, -0.4, 0.3], 0.02, direct=True)
    assert bound.largest <= 3 * found


def test_only_some_sites_are_switched() -> None:
    def fn(x):
        return jnp.sum(jnp.sin(jnp.tanh(2 * x)) * jax.nn.relu(x + 0.05))

    bound, _ = bracket(fn, {"tanh": "relu"}, [0.1, -0.3, 0.7], 0.1, tol=1e-2)
    assert [path for path, _ in bound.by_site] == ["tanh[1]"]


def test_splines_of_degree_two_and_smooth_targets() -> None:
    fn = dense((3, 8, 1), ACTIVATIONS["tanh"], 4)
    x = [0.1, -0.4, 0.3]
    bracket(fn, {"tanh": "repu(2)"}, x, 0.2, tol=1e-2)


def test_float32_parameters_as_arguments() -> None:
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)
    params = {"w": weights, "b": jnp.ones(3, jnp.float32)}

    def apply(params, x):
        return jnp.tanh(x @ params["w"] + params["b"])

    x = jnp.asarray(rng.normal(size=4), jnp.float32)
    box = around(np.asarray(x, np.float64), 0.1)
    bound = end_to_end_bound(apply, {"tanh": "relu"}, params, x, box=box, argument=1, tol=1e-2)
    wide = jax.tree.map(lambda a: a.astype(jnp.float64), params)
    old, new = (lambda x: apply(wide, x)), switch(lambda x: apply(wide, x), {"tanh": "relu"},
                                                  tol=1e-2)  # fmt: skip
    assert_holds(bound, *attack(old, new, box, 0))
    assert bound.largest <= 1e-2 * (1 + 1e-6)


def test_a_network_without_change_is_bounded_by_zero() -> None:
    bound = end_to_end_bound(
        lambda x: (jax.nn.leaky_relu(x), 2 * x), {"leaky_relu": "relu"}, jnp.ones(2),
        box=around(np.ones(2), 0.5),
    )  # fmt: skip
    assert bound.largest <= 1e-12
    assert np.all(bound.upper[1] == 0)


def test_a_primitive_without_rule_is_named() -> None:
    def fn(x):
        y = jnp.tanh(x)
        return jnp.sort(y), 2 * y

    bound = end_to_end_bound(fn, {"tanh": "relu"}, jnp.ones(3), box=around(np.ones(3), 0.1),
                             tol=1e-2)  # fmt: skip
    assert bound.level == "sampled"
    assert "sort" in str(bound.ends_at)
    assert np.isinf(bound.upper[0])
    assert 0 < bound.upper[1].max() <= 2e-2 * (1 + 1e-6)


def test_what_has_no_finite_bound_ends_the_certificate() -> None:
    def fn(x):
        return jnp.log(jnp.tanh(x))

    bound = end_to_end_bound(fn, {"tanh": "relu"}, jnp.zeros(1), box=around(np.zeros(1), 0.1),
                             tol=1e-2)  # fmt: skip
    assert bound.level == "sampled"
    assert "log" in str(bound.ends_at)
    assert bound.largest == np.inf


def test_bad_input() -> None:
    fn = dense((3, 4, 1), jnp.tanh, 0)
    with pytest.raises(ShapeError, match="3 numbers"):
        end_to_end_bound(fn, {"tanh": "relu"}, jnp.ones(3), box=around(np.ones(2), 1), tol=0.1)
    with pytest.raises(UsageError, match="argument=1"):
        end_to_end_bound(fn, {"tanh": "relu"}, jnp.ones(3), box=around(np.ones(3), 1), tol=0.1,
                         argument=1)  # fmt: skip
    with pytest.raises(UsageError, match="one array"):
        end_to_end_bound(lambda x: fn(x[0]), {"tanh": "relu"}, [jnp.ones(3)],
                         box=around(np.ones(3), 1), tol=0.1)  # fmt: skip
