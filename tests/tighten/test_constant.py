"""The ascent in (w, b) and M, norms with parameters, and transport, against known numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbarron as jb
from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_norm import interval_norm
from jaxbarron.errors import DomainError, ToleranceError, UnreachableTargetError, UsageError
from jaxbarron.tighten.constant import constant_value


def test_ascent_reaches_the_known_supremum() -> None:
    # a function that no table knows: the ascent comes near the proved constant of softplus in ReLU
    mine = jb.activation(jax.nn.softplus, name="mine")
    found = jb.tighten_constant(mine, "relu", steps=250, starts=8)
    known = jb.embedding_constant("softplus", "relu")
    assert known.lower * (1 - 1e-5) <= found.lower <= known.upper
    assert found.spread == pytest.approx(5.19, abs=0.1)
    # what the table knows is never lost
    assert jb.tighten_constant("softplus", "relu", steps=10, starts=1).lower >= known.lower
    lowers = [h.lower for h in found.history]
    assert lowers == sorted(lowers)
    at = interval_norm("softplus", 1, spread=found.spread, offset=found.offset)
    assert found.lower <= at.upper / (1 + found.spread + abs(found.offset)) * (1 + 1e-11)


def test_a_limit_is_reported_as_one() -> None:
    found = jb.tighten_constant("tanh", "relu", steps=50, starts=2)
    assert found.lower == pytest.approx(2, abs=1e-12)
    assert found.spread == np.inf


@pytest.mark.usefixtures("x64")
def test_every_value_on_the_way_is_below_the_constant() -> None:
    sigma, rng = jb.activation("softplus"), np.random.default_rng(3)
    value = constant_value(sigma, GaugeBody(1))
    w, b = np.exp(rng.uniform(-3, 4, 200)), rng.normal(size=200) * 2
    moments = rng.normal(size=(200, 2)) * 10 ** rng.uniform(-2, 1, (200, 1))
    upper = jb.embedding_constant("softplus", "relu").upper
    run = jax.jit(jax.vmap(value))
    assert float(run(*map(jnp.asarray, (w, b, moments))).max()) <= upper
    slope = jax.jit(jax.grad(value, argnums=(0, 1, 2)))
    place, step = [jnp.asarray(2.0), jnp.asarray(0.4), jnp.asarray([0.3, 0.5])], 1e-6
    slopes = slope(*place)
    ends = [float(value(place[0] + d, *place[1:])) for d in (step, -step)]
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(slopes[0]), rel=1e-6)


def swish(beta, z):
    return z * jax.nn.sigmoid(beta * z)


@pytest.mark.usefixtures("x64")
def test_slopes_of_a_norm_in_its_parameters() -> None:
    price = jb.parametrised_norm(swish, 1)
    run = jax.jit(
        jax.vmap(jax.value_and_grad(lambda p: price(p[0], p[1], p[2]).upper, has_aux=False))
    )
    step = 1e-5  # the norm is known to 1e-10: an error of 1e-5 in the difference
    centres = np.array([[1.0, 2.0, 0.3], [2.0, 0.7, -0.2]])
    moves = np.concatenate([np.zeros((1, 3)), step * np.eye(3), -step * np.eye(3)])
    values, slopes = run(jnp.asarray((centres[:, None] + moves).reshape(-1, 3)))
    values, slopes = np.asarray(values).reshape(2, 7), np.asarray(slopes).reshape(2, 7, 3)
    differences = (values[:, 1:4] - values[:, 4:]) / (2 * step)
    np.testing.assert_allclose(slopes[:, 0], differences, atol=1e-4)
    exact = interval_norm("silu", 1, spread=2.0, offset=0.3)
    assert values[0, 0] == pytest.approx(exact.upper, rel=1e-9)


def test_transport_brings_the_norm_down() -> None:
    arrays = np.array([[1.0], [-0.9]]), np.array([[1.0], [1.1]]), np.array([0.0, 0.1])
    mu = jb.ParticleMeasure(*arrays)
    found = jb.transport(mu, "tanh", "relu", particles=48)
    assert found.bracket.gap < 1e-9
    assert found.bracket.lower * (1 - 1e-9) <= found.after <= found.bracket.upper * (1 + 1e-3)
    assert found.before > 5 * found.after
    y = np.linspace(-1, 1, 401)[:, None]
    with jax.enable_x64(True):
        for nu, allowed in ((found.start, 1e-2), (found.measure, found.certificate.upper + 1e-12)):
            change = np.abs(jb.evaluate(nu, "relu", y) - jb.evaluate(mu, "tanh", y))
            assert change.max() <= allowed


def test_bad_input() -> None:
    with pytest.raises(UsageError, match="starts"):
        jb.tighten_constant("tanh", "relu", starts=0)
    with pytest.raises(ToleranceError, match="rel_gap"):
        jb.tighten_constant("tanh", "relu", rel_gap=0.0)
    with pytest.raises(UnreachableTargetError, match="given"):
        jb.tighten_constant("relu", "repu(2)")
    mu = jb.ParticleMeasure(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1))
    with pytest.raises(UnreachableTargetError, match="given"):
        jb.transport(mu, "tanh", "tanh")
    with pytest.raises(DomainError, match="given"):
        jb.transport(mu, "tanh", "relu", radius=0.0)
