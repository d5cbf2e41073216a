"""Smoothness and size of derivatives on all of R: closed forms, hidden kinks, planted faults."""

from __future__ import annotations

import math
from dataclasses import replace

import flint
import jax.numpy as jnp
import pytest

from jaxbarron.activations import activation, registered_activations
from jaxbarron.bounds import regularity
from jaxbarron.bounds.regularity import (
    derivative_bound,
    jump,
    modulus_bound,
    variation_bound,
)


@pytest.mark.parametrize(
    ("name", "order", "true"),
    [
        ("tanh", 1, 1.0),
        ("tanh", 2, 4 / (3 * math.sqrt(3))),
        ("sigmoid", 1, 1 / 4),
        ("softplus", 2, 1 / 4),
        ("gelu", 2, math.sqrt(2 / math.pi)),
        ("gaussian", 2, 2.0),
        ("sin", 3, 1.0),
        ("softsign", 2, 2.0),
        ("elu", 2, 1.0),
        ("identity", 2, 0.0),
    ],
)
def test_suprema_of_derivatives(name, order, true):
    found = derivative_bound(activation(name), order, continuous=False)
    assert true <= found <= true * 1.002


@pytest.mark.parametrize(
    ("name", "order", "true"),
    [
        ("tanh", 0, 2.0),
        ("tanh", 1, 2.0),
        ("sigmoid", 0, 1.0),
        ("softplus", 1, 1.0),
        ("arctan", 0, math.pi),
        ("gaussian", 0, 2.0),
        ("hard_tanh", 1, 2.0),
        ("abs", 1, 2.0),
        ("elu", 1, 1.0),
        ("relu6", 0, 6.0),
        ("softsign", 1, 2.0),
    ],
)
def test_variations(name, order, true):
    assert true <= variation_bound(activation(name), order) <= true * 1.1


def test_a_variation_with_an_algebraic_tail_is_true_but_not_sharp():
    assert 1.0 <= variation_bound(activation("squareplus"), 1) <= 1.7


def test_a_forgotten_jump_would_be_seen(monkeypatch):
    monkeypatch.setattr(regularity, "jump", lambda *_: flint.arb(0))
    assert variation_bound(activation("hard_tanh"), 1) < 2.0


@pytest.mark.parametrize("name", ["sin", "cos", "softplus", "identity"])
def test_infinite_variations(name):
    assert variation_bound(activation(name), 0) == math.inf


def test_moduli():
    assert 1.0 <= modulus_bound(activation("tanh")) <= 1.002
    assert modulus_bound(activation("gelu")) == math.inf


def test_every_declared_jump_is_confirmed():
    for sigma in registered_activations():
        for kink in sigma.kinks:
            for order, declared in enumerate(kink.jumps):
                found = jump(sigma.program, kink.location, order)
                assert found.contains(declared) or abs(float(found.mid()) - declared) < 1e-15
                assert found.rad() < 1e-15


def test_kinks_decide_how_smooth_a_function_is():
    for name, smooth in (("relu6", 0), ("elu", 1), ("softsign", 1), ("tanh", 4), ("identity", 4)):
        tau = activation(name)
        for m in range(5):
            assert math.isfinite(derivative_bound(tau, m, continuous=True)) == (m <= smooth)
            lipschitz = derivative_bound(tau, m, continuous=False)
            assert math.isfinite(lipschitz) == (m <= smooth + 1)


@pytest.mark.parametrize(
    "fn",
    [
        jnp.abs,
        lambda z: jnp.abs(z - 0.5),
        lambda z: jnp.abs(z - 1 / 3),
        lambda z: jnp.maximum(z, 0.25) ** 2,
        lambda z: jnp.where(z > 1000.0, z, 1000.0),
        jnp.cbrt,
        lambda z: jnp.sqrt(jnp.abs(z)),
        lambda z: 1 / z,
        lambda z: jnp.sign(z) * z * z,
        lambda z: jnp.clip(z, -2.0, 2.0),
        lambda z: jnp.where(z == 0.0, 1.0, jnp.tanh(z)),
    ],
)
def test_hidden_kinks_are_not_called_smooth(fn):
    tau = activation(fn, name="hidden")
    for order in range(3):
        for continuous in (True, False):
            assert derivative_bound(tau, order, continuous=continuous) == math.inf
    assert variation_bound(tau, 1) == math.inf


def test_without_the_joints_a_kink_would_pass(monkeypatch):
    monkeypatch.setattr(regularity, "_is_smooth_beside", lambda *_: True)
    regularity._smooth_core.cache_clear()
    assert derivative_bound(activation(jnp.abs, name="hidden"), 1, continuous=False) < math.inf
    regularity._smooth_core.cache_clear()


def test_a_false_fact_about_a_kink_is_noticed():
    elu = activation("elu(0.5)")
    (kink,) = elu.kinks
    false = replace(elu, kinks=(replace(kink, jumps=(0.0, 0.0, *kink.jumps[2:])),))
    assert derivative_bound(elu, 2, continuous=False) == math.inf
    assert derivative_bound(false, 2, continuous=False) == math.inf
