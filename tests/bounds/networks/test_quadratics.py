"""Norms of many quadratic forms, and what is said of neurons, against random and sought points."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_networks import dense

from jaxbarron.bounds.networks import joint as joint_module
from jaxbarron.bounds.networks.differential import Analysis
from jaxbarron.bounds.networks.expansions import Symbols
from jaxbarron.bounds.networks.forms import Group
from jaxbarron.bounds.networks.joint import Joint
from jaxbarron.bounds.networks.quadratics import Bilinear, crossed_norms, row_norms, vector_norm
from jaxbarron.bounds.networks.regions import Around, region_form
from jaxbarron.domains import Ball, Box
from jaxbarron.switching.networks import network_with_rules
from jaxbarron.switching.rules import Demand

RNG = np.random.default_rng(11)
ACTS: dict[str, Any] = {"tanh": np.tanh, "silu": lambda z: z / (1 + np.exp(-z))}


@pytest.fixture(autouse=True)
def doubles(x64):
    """What neurons do is computed in double precision."""


def points(symbols: Symbols, count: int) -> Any:
    xi = RNG.uniform(-1, 1, size=(count, symbols.count))
    if symbols.group is not None:
        return xi / np.linalg.norm(xi, axis=1, keepdims=True)
    return np.where(RNG.uniform(size=xi.shape) < 0.7, np.sign(xi), xi)


@pytest.mark.parametrize("symbols", [Symbols(3, None), Symbols(3, Group(3, 2)), Symbols(170, None)])
def test_rows_and_vectors_of_squares(symbols: Symbols):
    parts = [(RNG.normal(size=(5, n)), RNG.normal(size=(n, symbols.count))) for n in (4, 9)]
    xi = points(symbols, 3000)
    values = np.asarray(sum((xi @ j.T) ** 2 @ w.T for w, j in parts))
    rows, whole = row_norms(parts, 5, symbols), vector_norm(parts, symbols)
    assert np.all(np.abs(values).max(axis=0) <= rows)
    norms = np.linalg.norm(values, axis=1)
    assert norms.max() <= whole
    assert whole <= np.linalg.norm(rows) * (1 + 1e-9) or symbols.count > 100
    if symbols.group is not None:  # one square alone: both are what they bound
        one = [(np.array([[2.0]]), np.array([[1.0, 2.0, 2.0]]))]
        assert np.allclose([row_norms(one, 1, symbols)[0], vector_norm(one, symbols)], 18.0)


def test_crossed_norms_and_bilinear_forms_are_the_numpy_ones():
    weights, jacobian = RNG.normal(size=(6, 7)), RNG.normal(size=(7, 3))
    paths = [RNG.normal(size=(7, m)) for m in (2, 5)]
    found = crossed_norms(weights, [(path, None) for path in paths], jacobian)
    assert found is not None
    for path, norms in zip(paths, found, strict=True):
        true = [np.linalg.norm(path.T @ (w[:, None] * jacobian), 2) for w in weights]
        assert np.all(norms >= true)
        assert np.allclose(norms, true, rtol=1e-6)
    forms, sizes = Bilinear(), {0: 0.5, 1: 2.0}
    for w in weights[:2]:
        for i, j in ((0, 0), (0, 1), (1, 1)):
            forms.add(i, j, paths[i], w, paths[j])
    most, bound = -np.inf, forms.form(sizes)
    for _ in range(2000):
        v = {k: RNG.normal(size=p.shape[1]) for k, p in enumerate(paths)}
        r = sum(paths[k] @ (x / np.linalg.norm(x) * sizes[k]) for k, x in v.items())
        most = max(most, float(weights[:2].sum(axis=0) @ r**2))
    assert most <= bound


def small(
    sizes: Any, source: str, radius: float, ball: bool, particles: int = 9
) -> tuple[Any, ...]:
    act: Any = {"tanh": jnp.tanh, "silu": jax.nn.silu}[source]
    old, x = dense(sizes, act, 5), np.random.default_rng(2).normal(size=sizes[0])
    network, _ = network_with_rules(
        old, {source: "relu"}, (x,), 0, Demand(None, particles, None, False)
    )
    region: Any = Box(x - radius, x + radius)
    if ball:
        region = Around(tuple(x.tolist()), Ball(radius, ord=2))
    return Joint(Analysis(network, region_form(region, len(x)))), network


def both_networks(joint: Joint, network: Any, act: Any, xi: Any) -> Any:
    """For each function's node the arguments and the bends in the original and the new network."""
    x = joint.expansions[0]
    inputs = x.centre + xi @ x.jacobian.T
    values: list[Any] = [(inputs, inputs)]
    for index, node in enumerate(network.nodes[1:], 1):
        if index not in joint.neurons:
            sides = [node.bias + sum(m.forward(values[k][w]) for k, m in node.terms)
                     for w in (0, 1)]  # fmt: skip
            values.append(tuple(sides))
            continue
        here, before = joint.neurons[index], values[node.source]
        kernel = network.sites[node.site].pair.kernel
        parts = [tuple(float(int(v.p) / int(v.q)) for v in (p.weight, p.scale, p.shift))
                 for p in kernel.particles]  # fmt: skip
        z = before[1]
        new = sum(c * np.maximum(a * z + b, 0) for c, a, b in parts)
        values.append((act(before[0]), new))
        t = [z - here.argument.centre for z in before]
        w = [y - here.bend.value - here.bend.slope * s
             for y, s in zip(values[-1], t, strict=True)]  # fmt: skip
        yield here, t, w


def longest(vectors: Any) -> float:
    return float(np.linalg.norm(vectors, axis=-1).max())


def held(joint: Joint, network: Any, act: Any, xi: Any) -> dict[str, bool]:
    """Which statements about neurons hold at these points."""
    names = ("reach", "away", "length", "drift", "gap", "gap_norm", "bent", "odd", "change_norm")
    good = dict.fromkeys(names, True)
    for here, t, w in both_networks(joint, network, act, xi):
        straight = xi @ here.argument.jacobian.T
        squares = here.bend.curve / 2 * straight**2
        gap = t[1] - t[0]
        seen = {
            "reach": [np.abs(s).max(axis=0) for s in t],
            "away": [np.abs(s - straight).max(axis=0) for s in t],
            "length": [longest(s) for s in t],
            "drift": [longest(s - straight) for s in t],
            "gap": [np.abs(gap).max(axis=0)],
            "gap_norm": [longest(gap)],
            "bent": [longest(v) for v in w],
            "odd": [longest(v - squares) for v in w],
            "change_norm": [longest(w[1] - w[0])],
        }
        for name, found in seen.items():
            most = here.bend.reach if name == "reach" else getattr(here, name)
            good[name] &= all(np.all(x <= most + 1e-12) for x in found)
    return good


CASES = [((3, 12, 12, 12, 2), "tanh", 0.3, False), ((2, 9, 9, 1), "silu", 0.5, True)]


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_of_neurons_holds(case: Any):
    joint, network = small(*case)
    assert all(held(joint, network, ACTS[case[1]], points(joint.symbols, 4000)).values())


@pytest.mark.parametrize("fault", ["vector_norm", "row_norms", "crossed_norms"])
def test_a_norm_that_is_too_small_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch):
    real = getattr(joint_module, fault)
    if fault == "crossed_norms":
        monkeypatch.setattr(joint_module, fault, lambda *a: [-20 * x for x in real(*a)])
    else:
        monkeypatch.setattr(joint_module, fault, lambda *a: 0.0 * real(*a))
    joint, network = small((3, 12, 12, 12, 2), "tanh", 0.5, False, particles=65)
    assert not all(held(joint, network, np.tanh, points(joint.symbols, 4000)).values())
