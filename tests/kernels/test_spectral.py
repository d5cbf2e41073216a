"""Spectral measures, the Gaussian as one of them, and the way from cos to RePU."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxbarron.activations import repu
from jaxbarron.certificates import kernel_certificate
from jaxbarron.domains import Ball
from jaxbarron.errors import DomainError, DtypeError, NonFiniteError, ShapeError, UsageError
from jaxbarron.kernels.spectral import (
    spectral_kernel,
    spectral_measure,
    spectral_measure_of_samples,
)
from jaxbarron.kernels.taylor import taylor_kernel
from jaxbarron.measures import ParticleMeasure, evaluate, push_forward
from jaxbarron.norms import norm

RNG = np.random.default_rng(3)


# ------------------------------------------------------------- sums of cosines


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("outputs", [None, 3])
def test_the_measure_is_the_sum_of_cosines(dtype, outputs, x64) -> None:
    amplitudes = RNG.normal(size=(6,) if outputs is None else (6, outputs)).astype(dtype)
    frequencies, phases = RNG.normal(size=(6, 2)).astype(dtype), RNG.normal(size=6).astype(dtype)
    x = RNG.normal(size=(4, 5, 2)).astype(dtype)
    mu = spectral_measure(jnp.asarray(amplitudes), jnp.asarray(frequencies), jnp.asarray(phases))
    assert mu.dtype == dtype
    columns = amplitudes.reshape(6, -1)
    expected = np.cos(x.astype(float) @ frequencies.T + phases) @ columns
    found = evaluate(mu, "cos", jnp.asarray(x))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol=2e-5 if dtype == np.float32 else 1e-13)
    without = spectral_measure(amplitudes, frequencies)
    assert isinstance(without.offsets, np.ndarray)
    assert not without.offsets.any()


def test_transformations_of_jax() -> None:
    amplitudes, frequencies = jnp.array([1.0, -2.0]), jnp.array([[1.0, 0.5], [0.0, 3.0]])
    phases, x = jnp.array([0.25, -1.0]), jnp.array([0.3, -0.7])

    def value(a, xi, phi):
        return evaluate(spectral_measure(a, xi, phi), "cos", x)[0]

    expected = float(value(amplitudes, frequencies, phases))
    assert jax.jit(value)(amplitudes, frequencies, phases) == pytest.approx(expected, rel=1e-6)
    batch = jax.vmap(value, in_axes=(0, None, None))(
        jnp.stack([amplitudes, 2 * amplitudes]), frequencies, phases
    )
    np.testing.assert_allclose(batch, [expected, 2 * expected], rtol=1e-6)
    slopes = jax.grad(value, argnums=(0, 1, 2))(amplitudes, frequencies, phases)
    z = frequencies @ x + phases
    np.testing.assert_allclose(slopes[0], jnp.cos(z), rtol=1e-5)
    np.testing.assert_allclose(slopes[2], -amplitudes * jnp.sin(z), rtol=1e-5)
    np.testing.assert_allclose(slopes[1], (-amplitudes * jnp.sin(z))[:, None] * x, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((np.ones((2, 1, 1)), np.ones((2, 3))), ShapeError),
        ((np.ones(2), np.ones((3, 3))), ShapeError),
        ((np.ones(2), np.ones(2)), ShapeError),
        ((np.ones(2), np.ones((2, 3)), np.ones(3)), ShapeError),
        ((np.ones(2), np.ones((2, 3), int)), DtypeError),
        ((np.ones(2), np.ones((2, 3), np.float32)), DtypeError),
        ((np.array([1.0, np.nan]), np.ones((2, 3))), NonFiniteError),
    ],
)
def test_bad_arrays_are_refused(arguments, error) -> None:
    with pytest.raises(error, match=r"given: .*; expected: .*; do: "):
        spectral_measure(*arguments)


# ------------------------------------------------------------------- samples


@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (8,), (4, 6), (5, 4), (3, 2, 4)])
def test_the_interpolant_meets_every_sample(shape: tuple[int, ...], x64) -> None:
    periods = tuple(RNG.uniform(0.5, 3.0, len(shape)))
    samples = RNG.normal(size=shape)
    mu = spectral_measure_of_samples(samples, periods)
    assert mu.particles == samples.size
    axes = [np.arange(n) * length / n for n, length in zip(shape, periods, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    np.testing.assert_allclose(evaluate(mu, "cos", grid)[..., 0], samples, atol=2e-13)
    # total variation: within 2^(1/2) of the sum of the moduli of the Fourier coefficients
    modulus = np.abs(np.fft.fftn(samples)).sum() / samples.size
    total = float(norm(mu, Ball(1.0), weight="total_variation"))
    assert modulus * (1 - 1e-12) <= total <= math.sqrt(2) * modulus * (1 + 1e-12)


def test_a_band_limited_function_is_met_everywhere(x64) -> None:
    def f(x):
        return (
            1.5 + np.cos(2 * x[..., 0] - x[..., 1] + 0.3) - 0.5 * np.sin(x[..., 0] + 2 * x[..., 1])
        )

    axis = 2 * np.pi * np.arange(6) / 6
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    mu = spectral_measure_of_samples(f(grid), (2 * np.pi, 2 * np.pi))
    x = RNG.uniform(-9, 9, (200, 2))
    np.testing.assert_allclose(evaluate(mu, "cos", x)[:, 0], f(x), atol=1e-13)


def test_samples_may_be_traced() -> None:
    samples, x = jnp.asarray(RNG.normal(size=(4, 4)), jnp.float32), jnp.array([0.3, 0.6])

    def value(s):
        return evaluate(spectral_measure_of_samples(s, (1.0, 2.0)), "cos", x)[0]

    assert jax.jit(value)(samples) == pytest.approx(float(value(samples)), rel=1e-4, abs=1e-5)
    assert jax.vmap(value)(jnp.stack([samples, samples])).shape == (2,)
    # linear: the derivative is the value at the unit samples, at the zero function too
    slope = jax.grad(value)(jnp.zeros((4, 4)))
    unit = jnp.zeros((4, 4)).at[1, 2].set(1.0)
    assert float(slope[1, 2]) == pytest.approx(float(value(unit)), abs=1e-6)
    assert (
        spectral_measure_of_samples(samples.astype(jnp.bfloat16), (1.0, 2.0)).dtype == jnp.bfloat16
    )


@pytest.mark.parametrize(
    ("samples", "periods", "error"),
    [
        (np.float64(1.0), (), ShapeError),
        (np.ones((2, 0)), (1.0, 1.0), ShapeError),
        (np.ones((2, 2)), (1.0,), ShapeError),
        (np.ones(4, int), (1.0,), DtypeError),
        (np.ones(4, complex), (1.0,), DtypeError),
        (np.ones(4), (0.0,), DomainError),
        (np.ones(4), (math.inf,), DomainError),
    ],
)
def test_bad_samples_are_refused(samples, periods, error) -> None:
    with pytest.raises(error, match=r"given: .*; expected: .*; do: "):
        spectral_measure_of_samples(samples, periods)


# ------------------------------------------------------------------- Gaussian


@pytest.mark.parametrize("reach", [0.5, 2.0, 4.0, 8.0])
@pytest.mark.parametrize("particles", [2, 3, 5, 8, 12])
def test_the_gaussian_is_certified_within_the_stated_bound(reach: float, particles: int) -> None:
    kernel = spectral_kernel(reach, particles=particles)
    assert kernel.particles == particles
    step = float(kernel.directions[1, 0])
    period, rounding = 2 * math.pi / step, 1e-15
    alias = sum(math.exp(-((reach - n * period) ** 2)) for n in range(-20, 21) if n)
    bound = alias + math.erfc((particles - 1) * step / 2)
    certificate = kernel_certificate(kernel, "gaussian", "cos", reach=reach)
    assert certificate.lower <= certificate.upper <= bound * 1.002 + rounding
    assert certificate.lower > 0.3 * bound
    # beyond the reach the next translate comes
    if period > reach + 2:
        assert kernel_certificate(kernel, "gaussian", "cos", reach=period).lower > 0.5
    assert np.all(kernel.weights > 0)
    assert kernel.weights.sum() <= 1 + 3 * math.exp(-(period**2)) + rounding
    assert kernel.weights.sum() >= 1 - certificate.upper


def test_the_error_of_the_trapezoidal_rule_is_the_poisson_sum() -> None:
    step = 0.7
    with mpmath.workdps(40):
        h = mpmath.mpf(step)
        for z in map(mpmath.mpf, ("0", "1.3", "4.1", "9.5")):
            rule = mpmath.fsum(
                (1 if k == 0 else 2) * mpmath.exp(-((k * h) ** 2) / 4) * mpmath.cos(k * h * z)
                for k in range(60)
            ) * h / (2 * mpmath.sqrt(mpmath.pi))  # fmt: skip
            translates = mpmath.fsum(
                mpmath.exp(-((z - 2 * mpmath.pi * n / h) ** 2)) for n in range(-6, 7)
            )
            assert abs(rule - translates) < mpmath.mpf(10) ** -35


def test_many_particles_reach_double_precision() -> None:
    kernel = spectral_kernel(6.0, particles=28)
    assert kernel_certificate(kernel, "gaussian", "cos", reach=6.0).upper < 2e-15


@pytest.mark.parametrize("reach", [0.0, -1.0, math.inf, math.nan])
def test_bad_reaches_are_refused(reach: float) -> None:
    with pytest.raises(DomainError, match=r"given: .*; expected: .*; do: "):
        spectral_kernel(reach)


def test_one_particle_is_refused() -> None:
    with pytest.raises(UsageError, match=r"given: .*; expected: .*; do: "):
        spectral_kernel(1.0, particles=1)


# ------------------------------------------------------------- from cos to RePU


def wave(dtype=jnp.float64) -> ParticleMeasure:
    rng = np.random.default_rng(11)
    leaves = (rng.normal(size=12), 2 * rng.normal(size=(12, 2)), rng.uniform(-2, 2, 12))
    return spectral_measure(*(jnp.asarray(x, dtype) for x in leaves))


@pytest.mark.parametrize("s", [1, 2])
def test_a_spectral_measure_becomes_a_network(s: int, x64) -> None:
    mu, ball = wave(), Ball(1.0)
    reach = float(jnp.max(ball.reach(mu.directions, mu.offsets)))
    kernel = taylor_kernel("cos", s, reach, nodes=64)
    eps = kernel_certificate(kernel, "cos", repu(s), reach=reach).upper
    assert eps < 0.05
    nu = push_forward(kernel, mu, domain=ball, reach=reach)
    x = RNG.normal(size=(3000, 2))
    x *= (RNG.uniform(size=(3000, 1)) ** 0.5) / np.linalg.norm(x, axis=1, keepdims=True)
    change = jnp.max(jnp.abs(evaluate(mu, "cos", x) - evaluate(nu, repu(s), x)))
    assert 0 < float(change) <= eps * float(jnp.sum(jnp.abs(mu.weights))) + 1e-11


def test_the_gaussian_goes_all_the_way(x64) -> None:
    first = spectral_kernel(3.0, particles=10)
    reach = 3.0 * float(first.directions.max())
    second = taylor_kernel("cos", 1, reach, nodes=400)
    eps = kernel_certificate(second, "cos", "relu", reach=reach).upper
    start = kernel_certificate(first, "gaussian", "cos", reach=3.0).upper
    chain = push_forward(second, first)
    whole = kernel_certificate(chain, "gaussian", "relu", reach=3.0)
    assert whole.upper <= start + eps * float(np.abs(first.weights).sum()) + 1e-12


BRIDGE = {1: 3.0, 2: 7 / 3, 3: 5 / 4}


@pytest.mark.parametrize("s", BRIDGE)
@pytest.mark.parametrize("spread", [0.0, 0.3, 2.0, 15.0])
@pytest.mark.parametrize("offset", [0.0, 1.0, -4.0])
def test_the_bridge_costs_one_more_power_of_the_reach(s: int, spread: float, offset: float) -> None:
    # the representation of Theorem Spectral bridge for one particle, its density by midpoints
    rho = spread + abs(offset)
    t = (np.arange(20000) + 0.5) / 20000 * rho
    density = np.abs([np.sin, np.cos, np.sin, np.cos][(s + 1) % 4](t)) / math.factorial(s)
    integral = 2 * np.mean(density * (rho + t) ** s) * rho
    polynomial = 1 + {1: 0.0, 2: rho**2, 3: 1.5 * rho**2}[s]
    assert polynomial + integral <= BRIDGE[s] * (1 + rho) ** (s + 1)


@pytest.mark.parametrize("s", [1, 2, 3])
def test_the_polynomial_part_of_the_bridge(s: int) -> None:
    rho, z = 2.5, np.linspace(-2.5, 2.5, 101)
    particles = {
        1: [(1.0, 0.0, 1.0)],
        2: [(1.0, 0.0, 1.0), (-0.5, 1.0, 0.0), (-0.5, -1.0, 0.0)],
        3: [(1.0, 0.0, 1.0), (-1 / (12 * rho), 1.0, rho), (-1 / (12 * rho), -1.0, rho),
            (rho**2 / 6, 0.0, 1.0)],
    }[s]  # fmt: skip
    value = sum(c * np.maximum(a * z + b, 0) ** s for c, a, b in particles)
    np.testing.assert_allclose(value, 1 - (s > 1) * z**2 / 2, atol=1e-13)
    cost = sum(abs(c) * (abs(a) * rho + b) ** s for c, a, b in particles)
    assert cost == pytest.approx(1 + {1: 0.0, 2: rho**2, 3: 1.5 * rho**2}[s], rel=1e-14)
