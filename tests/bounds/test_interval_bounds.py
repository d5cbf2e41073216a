"""Both bounds on an interval against linear programs that know no theorem; planted faults."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interval_programs import Oracle, oracle, random_network

from jaxbarron.activations import activation
from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_dual import lower_excess
from jaxbarron.bounds.interval_edges import network_edges
from jaxbarron.bounds.interval_norm import interval_norm
from jaxbarron.bounds.interval_primal import upper_excess
from jaxbarron.bounds.interval_profile import composed_jets, density_cost, sample
from jaxbarron.measures import ParticleMeasure
from jaxbarron.programs import evaluate_program


def is_refuted(lower: float, upper: float, known: Oracle) -> bool:
    return bool(lower > known.value + known.error or upper < known.below)


class ForgetsTheOutside(GaugeBody):
    """A planted fault: kinks outside are charged as if they took four particles."""

    def prices(self, x):
        return jnp.where(jnp.abs(x) < 0.5, super().prices(x), 4 * super().prices(x))


class ChargesOnce(GaugeBody):
    """A planted fault: a polynomial of two inner particles is charged as one."""

    def prices(self, x):
        return jnp.where(jnp.abs(x) < 0.5, super().prices(x) / 2, super().prices(x))


def values(name: str, a: np.ndarray, w: np.ndarray, b: np.ndarray):
    program = activation(name).program
    return lambda y: evaluate_program(program, np.multiply.outer(y, w) + b) @ a


@pytest.mark.parametrize(("s", "cases"), [(1, 40), (2, 25)])
def test_random_networks_against_linear_programs(s: int, cases: int) -> None:
    rng = np.random.default_rng(s)
    for case in range(cases):
        a, w, b = random_network(rng, 3 if case % 5 else 1, 3)
        mu = ParticleMeasure(a[:, None], w[:, None], b)
        name = ("tanh", "gelu", "arctan")[case % 3]
        found = interval_norm(mu, s, sigma=name)
        known = oracle(values(name, a, w, b), s, points=31)
        assert not is_refuted(found.lower, found.upper, known)
        assert found.gap <= 1e-8


@pytest.mark.usefixtures("x64")
def test_a_body_without_the_outside_is_refuted() -> None:
    # 1 + y is one particle of weight 2
    jets = composed_jets(lambda z: 1 + z, 2, 1.0, 0.0)
    profile = sample(jets, jnp.linspace(-1, 1, 5), kinks=False)
    known, moments = oracle(lambda y: 1 + y, 1), jnp.array([2.0, 2.0])
    lower = {c: lower_excess(c(1), profile, jets, moments) for c in (GaugeBody, ForgetsTheOutside)}
    assert lower[GaugeBody] == pytest.approx(2)
    assert not is_refuted(lower[GaugeBody], np.inf, known)
    assert is_refuted(lower[ForgetsTheOutside], np.inf, known)


@pytest.mark.usefixtures("x64")
def test_a_body_without_the_factor_two_is_refuted() -> None:
    # y^2 is two particles of weight 1
    jets = composed_jets(jnp.square, 3, 1.0, 0.0)
    profile = sample(jets, jnp.linspace(-1, 1, 5), kinks=False)
    known, x, one = oracle(np.square, 2), jnp.zeros(1), jnp.ones(1)
    shares = jnp.zeros(4)
    upper = {c: upper_excess(c(2), profile, shares, x, one) for c in (GaugeBody, ChargesOnce)}
    assert upper[GaugeBody] == pytest.approx(2)
    assert not is_refuted(-np.inf, upper[GaugeBody], known)
    assert is_refuted(-np.inf, upper[ChargesOnce], known)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("s", [1, 3])
def test_bounds_hold_for_any_moments_and_any_shares(s: int) -> None:
    body, rng = GaugeBody(s), np.random.default_rng(s)
    a, w, b = random_network(rng, 2, 3)
    edges = jnp.asarray(network_edges(activation("tanh"), s, a, w, b))
    jets = composed_jets(jnp.tanh, s + 1, jnp.asarray(w), jnp.asarray(b), jnp.asarray(a))
    profile = sample(jets, edges, kinks=False)
    density = density_cost(body, profile, jets)
    known = oracle(values("tanh", a, w, b), s, points=31)
    moments = jnp.asarray(rng.normal(size=(300, s + 1)))
    lower = jax.jit(jax.vmap(lambda m: lower_excess(body, profile, jets, m)))(moments)
    assert density + lower.max() <= known.value + known.error
    for _ in range(50):
        shares = jnp.asarray(rng.uniform(-0.7, 0.7, edges.size - 1))
        x, c = jnp.asarray(rng.uniform(-1, 1, 4)), jnp.asarray(rng.normal(size=4))
        assert density + upper_excess(body, profile, shares, x, c) >= known.below


@pytest.mark.usefixtures("x64")
def test_the_representation_is_one_and_costs_the_upper_bound() -> None:
    s, w, b = 2, 1.3, 0.4
    bracket = interval_norm("tanh", s, spread=w, offset=b)
    found = bracket.found
    third = activation("tanh").derivative(3).program
    nodes, weights = np.polynomial.legendre.leggauss(12)
    edges = np.asarray(found.edges)
    y = edges[::4]  # at an edge no particle has its kink inside a cell: Gauss points are exact
    total, cost = np.zeros_like(y), 0.0
    for left, right, share in zip(
        edges[:-1], edges[1:], found.shares[: edges.size - 1], strict=True
    ):
        t = (left + right) / 2 + (right - left) / 2 * nodes
        mass = weights * (right - left) / 2 * w**3 * evaluate_program(third, w * t + b) / 2
        part = 0.5 + float(share) * np.sign(mass)
        difference = y[:, None] - t
        total += np.maximum(difference, 0) ** 2 @ (part * mass)
        total -= np.maximum(-difference, 0) ** 2 @ ((1 - part) * mass)
        cost += np.sum(np.abs(mass) * (np.abs(part) + np.abs(1 - part)) * (1 + np.abs(t)) ** 2)
    x, c = np.asarray(found.nodes), np.asarray(found.particles)
    total += ((1 - np.abs(x)) * y[:, None] + x) ** 2 @ c
    cost += np.sum(np.abs(c) * np.where(np.abs(x) < 0.5, 2, 1))
    assert np.abs(total - np.tanh(w * y + b)).max() < 1e-9
    assert cost == pytest.approx(bracket.upper, rel=1e-9)
