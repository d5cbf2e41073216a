"""Kernels of edges as objects: pushed through random measures, every rule; refusals."""

from __future__ import annotations

import math
from typing import get_args

import jax.numpy as jnp
import numpy as np
import pytest

from jaxbarron import Ball, ParticleMeasure, activation, embedding, norm, push_forward
from jaxbarron.bounds.edges import RULES, edges, natural_order
from jaxbarron.errors import DomainError, ToleranceError, UnreachableTargetError, UsageError
from jaxbarron.norms import Weight
from jaxbarron.programs import evaluate_program

# a source that no table holds
STEEP = activation(lambda z: jnp.tanh(1.5 * z), name="steep tanh")
PAIRS = {
    "unit": ("gelu", "gelu"),
    "linear combination": ("sigmoid", "tanh"),
    "hierarchy": ("repu(3)", "repu(2)"),
    "one reach": ("softplus", "relu"),
    "taylor": (STEEP, "repu(2)"),
    "reach cells": (STEEP, "relu"),
    "ramp": ("gelu", "mish"),
    "cancelling kinks": ("relu", "hard_swish"),
    "inverse convolution": ("relu", "selu"),
    "resolvent": ("tanh", "celu"),
    "spectrum": ("gaussian", "cos"),
    "mixture": ("softsign", "erf"),
    "heat": ("identity", "erf"),
    "strip": ("erf", "tanh"),
    "poisson": ("erf", "arctan"),
    "gaussian particles": ("erf", "gaussian"),
    "correction": ("erf", "softsign"),
}
REACH, TOL = 3.0, 2e-2


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def edge_of(rule):
    source, target = (activation(name) for name in PAIRS[rule])
    found = edges(source, target, natural_order(target))
    return next(e for e in found if e.rule == rule)


def random_measure(rng, count=12, dimension=2):
    """Particles of reach exactly REACH on the unit l2 ball."""
    w = rng.normal(size=(count, dimension))
    b = rng.normal(size=count)
    scale = REACH / (np.linalg.norm(w, axis=1) + np.abs(b))
    return ParticleMeasure(rng.normal(size=(count, 1)), w * scale[:, None], b * scale)


def values(mu, program, x):
    z = x @ mu.directions.T + mu.offsets
    return evaluate_program(program, z) @ mu.weights[:, 0]


def the_norm(mu, tau, order):
    s = tau.homogeneity
    weight, power = ("inhomogeneous", order) if s is None else ("homogeneous", s)
    return float(norm(mu, Ball(1.0), weight=weight, order=power))


@pytest.mark.parametrize("rule", PAIRS)
def test_a_random_measure_goes_through_the_kernel_of_each_rule(rule, rng):
    edge = edge_of(rule)
    kernel = edge.kernel(reach=REACH, tol=TOL)
    mu = random_measure(rng)
    nu = push_forward(kernel.measure, mu, domain=Ball(1.0), reach=kernel.reach * (1 + 1e-6))
    x = rng.normal(size=(400, 2))
    x /= np.maximum(np.linalg.norm(x, axis=1), 1)[:, None]
    gap = np.max(np.abs(values(mu, edge.source.program, x) - values(nu, edge.target.program, x)))
    size = float(np.abs(mu.weights).sum())
    assert kernel.error.upper <= TOL
    assert gap <= size * kernel.error.upper * (1 + 1e-9) + 1e-9 * size
    before, after = (
        the_norm(m, tau, edge.order) for m, tau in ((mu, edge.source), (nu, edge.target))
    )
    assert after <= kernel.constant * before * (1 + 1e-5)  # the norm is in single precision
    assert kernel.constant <= edge.upper * (1 + 2e-3)
    assert kernel.excess <= 2e-3


def test_every_rule_has_a_pair():
    assert set(RULES) - set(PAIRS) <= {"taylor on a reach"}


def test_uniform_kernels_serve_every_smaller_reach():
    edge = edge_of("ramp")
    kernel = edge.kernel(reach=REACH, tol=TOL, uniform=True)
    assert kernel.constant <= kernel.uniform <= edge.upper
    for share in (0.0, 0.01, 0.3, 0.8):
        one = ParticleMeasure(np.ones((1, 1)), np.array([[share * REACH]]), np.zeros(1))
        after = the_norm(push_forward(kernel.measure, one), edge.target, 1)
        assert after <= kernel.uniform * (1 + share * REACH) * (1 + 1e-6)


def test_the_cost_in_every_weight():
    kernel = edge_of("linear combination").kernel(reach=2.0)
    leaves = (kernel.measure.weights, kernel.measure.directions, kernel.measure.offsets)
    c, a, b = (np.abs(np.asarray(x).ravel()) for x in leaves)
    expected = {
        "homogeneous": c @ (2 * a + b), "inhomogeneous": c @ (1 + 2 * a + b),
        "total_variation": c.sum(), "l2": c @ np.hypot(2 * a, b), "bias_free": c @ (2 * a),
    }  # fmt: skip
    assert set(kernel.costs) == set(get_args(Weight)) == set(expected)
    for name, value in expected.items():
        assert kernel.costs[name] == pytest.approx(value, rel=1e-6)
    assert kernel.cost() == kernel.costs["inhomogeneous"]


def test_the_bridge_has_a_kernel_at_its_own_order():
    sharp = edges(activation("cos"), activation("relu"), 2)[0]
    assert sharp.rule == "one reach"
    taylor = RULES["taylor on a reach"](activation("cos"), activation("relu"), 2)
    assert taylor is not None
    assert sharp.upper < taylor.upper
    for edge in (sharp, taylor):
        kernel = edge.kernel(reach=REACH, tol=TOL)
        assert kernel.error.upper <= TOL
        assert kernel.constant <= edge.upper


def test_into_the_heaviside_step():
    found = edges(activation("tanh"), activation("heaviside"), 1)[0]
    kernel = found.kernel(reach=2.0, tol=0.1)
    assert kernel.error.upper <= 0.1
    assert kernel.measure.particles <= 2 * (2 / 0.2) * 1.02 + 2
    assert kernel.constant <= found.upper


def test_along_a_route_identities_compose():
    found = embedding("abs", "leaky_relu")
    assert len(found.route) == 2
    kernel = found.kernel(reach=5.0)
    assert kernel.constant <= found.upper
    assert kernel.measure.particles == 4
    z = np.linspace(-5, 5, 101)[:, None]
    got = values(kernel.measure, activation("leaky_relu").program, z)
    np.testing.assert_allclose(got, np.abs(z[:, 0]), atol=1e-14)


def test_along_a_route_of_densities():
    found = embedding("arctan", "tanh")
    assert [e.rule for e in found.route] == ["mixture", "strip"]
    kernel = found.kernel(reach=1.0, particles=4)
    assert kernel.measure.particles <= 4
    assert kernel.error.upper < 0.1
    assert kernel.constant <= found.upper


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, DomainError, "expected: a reach"),
        ({"reach": -1.0}, DomainError, "finite number > 0"),
        ({"reach": math.inf}, DomainError, "finite number > 0"),
        ({"reach": 2.0, "tol": 0.0}, ToleranceError, "tol=0"),
        ({"reach": 2.0, "tol": math.nan}, ToleranceError, "tol=nan"),
        ({"reach": 2.0, "tol": 1e-3, "particles": 5}, UsageError, "both tol="),
        ({"reach": 2.0, "particles": 0}, UsageError, "at least 1"),
        ({"reach": 8.0, "particles": 1}, ToleranceError, "do: allow more"),
    ],
)
def test_what_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        edge_of("strip").kernel(**arguments)


def test_pairs_without_a_kernel():
    with pytest.raises(UnreachableTargetError, match="which is not embedded"):
        embedding("relu", "tanh").kernel(reach=1.0)
    with pytest.raises(DomainError, match="on all of R"):
        edge_of("linear combination").kernel().cost()
