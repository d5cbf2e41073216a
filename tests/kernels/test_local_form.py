"""The local form in floats: as accurate as floats can be, however far out (Theorem Local form)."""

from __future__ import annotations

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbarron as jb
from jaxbarron.kernels.pieces import exact_pieces
from jaxbarron.kernels.table import entries, lookup
from jaxbarron.kernels.traced_pieces import traced_pieces

FAR = np.geomspace(12.0, 2.0**20, 300)
Z = np.concatenate([-FAR[::-1], np.linspace(-12.0, 12.0, 1201), FAR]).astype(np.float32)
SHIPPED = [(key, spline) for key, spline in entries().items()]


def exact(kernel, s, z):
    """The sum of the particles in rational arithmetic: shares no code with the library."""
    rows = [
        tuple(Fraction(float(x)) for x in row)
        for row in zip(
            *(np.asarray(a).reshape(-1) for a in (kernel.weights, kernel.directions,
                                                  kernel.offsets)), strict=True)
    ]  # fmt: skip
    return np.array(
        [
            float(sum(c * max(a * Fraction(float(x)) + b, Fraction(0)) ** s for c, a, b in rows))
            for x in np.asarray(z)
        ]
    )


def error(got, want, z):
    """The error in units of max(1, |z|)."""
    got = np.asarray(got, np.float64)
    return float(np.max(np.abs(got - want) / np.maximum(1.0, np.abs(np.asarray(z, np.float64)))))


@pytest.mark.parametrize("s", [1, 2, 3])
def test_every_shipped_kernel_in_single_precision(s):
    """Against the piecewise evaluation in doubles, which the particles have no part in."""
    worst = 0.0
    for (source, order, tol), spline in SHIPPED:
        if order == s:
            kernel = lookup(source, s, tol)
            got = jb.kernel_as_activation(kernel, jb.repu(s))(jnp.asarray(Z))
            worst = max(worst, error(got, spline.value(Z.astype(np.float64)), Z))
    assert worst < 5e-7  # 8 roundings; the sum of the particles errs by up to 14 within |z| <= 12


def test_the_oracles_agree_and_would_see_a_loss():
    kernel, spline = lookup("hard_swish", 3, 1e-4), entries()["hard_swish", 3, 1e-4]
    z = Z[::60]
    want = exact(kernel, 3, z)
    np.testing.assert_allclose(spline.value(z.astype(np.float64)), want, rtol=1e-12, atol=1e-15)
    powers = np.maximum(
        z[:, None] * np.float32(kernel.directions.T) + np.float32(kernel.offsets), 0
    )
    naive = (powers**3 @ np.float32(kernel.weights))[:, 0]
    assert error(naive, want, z) > 1.0


@pytest.mark.parametrize(("source", "s"), [("gelu", 1), ("squareplus", 2), ("selu", 3)])
def test_the_bound_of_the_theorem(source, s):
    kernel = lookup(source, s, 1e-3)
    made = exact_pieces(kernel, s, np.float32)
    got = np.asarray(jb.kernel_as_activation(kernel, jb.repu(s))(jnp.asarray(Z)), np.float64)
    piece = np.searchsorted(np.asarray(made.bounds), Z, side="left")
    table = np.asarray(made.coefficients, np.float64)[piece]
    distance = np.abs(Z.astype(np.float64) - np.asarray(made.centres, np.float64)[piece])
    size = sum(np.abs(table[:, j]) * distance**j for j in range(s + 1))
    want = entries()[source, s, 1e-3].value(Z.astype(np.float64))
    assert np.all(np.abs(got - want) <= (3 * s + 2.1) * 2.0**-24 * size)


TRACED = [("gelu", 1), ("softplus", 2), ("tanh", 2), ("tanh", 3)]


@pytest.mark.parametrize(("source", "s"), TRACED)
def test_traced_kernels(source, s):
    """jit with the kernel as an argument, vmap over kernels, and the derivative in z."""
    kernel = lookup(source, s, 1e-3)
    small = kernel.astype(jnp.float32)
    want = exact(small, s, Z[::7])
    pair = jax.tree.map(lambda x: jnp.stack([x, 2 * x]) if x is small.weights else
                        jnp.stack([x, x]), small)  # fmt: skip

    def value_and_slope(kernel, z):
        tau = jb.kernel_as_activation(kernel, jb.repu(s))
        return jax.vmap(jax.value_and_grad(tau))(z)

    run = jax.jit(jax.vmap(value_and_slope, in_axes=(0, None)))
    values, slopes = run(pair, jnp.asarray(Z[::7]))
    assert error(values[0], want, Z[::7]) < 4e-7
    assert error(values[1] / 2, want, Z[::7]) < 4e-7
    by_hand, _ = jb.derivative(small, jb.repu(s), 0)
    slope = exact(by_hand, s - 1, Z[::7]) if s > 1 else step_values(by_hand, Z[::7])
    knots = -np.asarray(small.offsets)
    away = np.min(np.abs(Z[::7][:, None] - knots), axis=1) > 1e-5
    assert error(np.asarray(slopes[0])[away], slope[away], 1) < 4e-6


def step_values(measure, z):
    active = np.asarray(measure.directions).T * z[:, None] + np.asarray(measure.offsets) > 0
    return active @ np.asarray(measure.weights, np.float64)[:, 0]


@pytest.mark.parametrize("s", [1, 2, 4])
def test_any_kernel_known_and_traced(s):
    """Directions of both signs and 0, tails that are no lines, knots that are no floats."""
    rng = np.random.default_rng(s)
    alpha = rng.normal(size=9)
    alpha[3] = 0.0
    columns = rng.normal(size=9), alpha, rng.normal(size=9)
    c, alpha, beta = (x.astype(np.float32).astype(np.float64) for x in columns)
    kernel = jb.ParticleMeasure(c[:, None], alpha[:, None], beta)
    z = (rng.normal(size=60) * np.geomspace(0.01, 1e4, 60)).astype(np.float32)
    want = exact(kernel, s, z)
    # a bound of sum_j |a_j| |z - b|^j for every b between the knots
    far = np.abs(z.astype(np.float64))[:, None] + 2 * np.max(
        np.abs(beta[alpha != 0] / alpha[alpha != 0])
    )
    size = ((np.abs(alpha) * far + np.abs(beta)) ** s) @ np.abs(c)
    run = jax.jit(lambda kernel, z: jb.kernel_as_activation(kernel, jb.repu(s))(z))
    for got in (
        jb.kernel_as_activation(kernel, jb.repu(s))(jnp.asarray(z)),
        run(kernel.astype(jnp.float32), z),
    ):
        assert np.all(np.abs(np.asarray(got, np.float64) - want) <= (3 * s + 2.1) * 2.0**-24 * size)


@pytest.mark.parametrize("s", [1, 2, 3])
def test_gradients_in_the_kernel_are_those_of_the_sum(s, x64):
    rng = np.random.default_rng(s)
    kernel = jb.ParticleMeasure(*(jnp.asarray(rng.normal(size=n)) for n in ((4, 1), (4, 1), 4)))
    z = jnp.linspace(-3.0, 3.0, 41) + 1e-4

    def flat(kernel):
        return jnp.sum(jnp.sin(jb.evaluate(kernel, jb.repu(s), z[:, None])))

    def local(kernel):
        return jnp.sum(jnp.sin(jb.kernel_as_activation(kernel, jb.repu(s))(z)))

    transform = jax.hessian if s == 2 else jax.grad
    got, want = jax.jit(transform(local))(kernel), jax.jit(transform(flat))(kernel)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-8)


def test_the_tail_of_a_traced_kernel_is_a_line_or_is_not():
    line = lookup("tanh", 2, 1e-2).astype(jnp.float32)
    bent = jb.ParticleMeasure(line.weights * (1 + 1e-6), line.directions, line.offsets)
    bent = jb.ParticleMeasure(bent.weights.at[0].multiply(1 + 1e-6), line.directions, line.offsets)
    run = jax.jit(lambda kernel: traced_pieces(kernel, 2, jnp.dtype("float32")).coefficients)
    assert float(run(line)[-1][2]) == 0.0
    want = sum(Fraction(float(c)) for c in np.asarray(bent.weights)[:-1, 0])  # all but the constant
    assert float(run(bent)[-1][2]) == pytest.approx(float(want), rel=1e-6)
    assert want != 0


def test_infinities_nan_and_the_left_derivative():
    tanh = jb.kernel_as_activation(lookup("tanh", 3, 1e-2), jb.repu(3))
    gelu = jb.kernel_as_activation(lookup("gelu", 2, 1e-2), jb.repu(2))
    z = jnp.array([-jnp.inf, jnp.inf, jnp.nan])
    assert abs(float(tanh(z)[1]) - 1.0) < 1e-2
    assert abs(float(tanh(z)[0]) + 1.0) < 1e-2
    assert float(gelu(z)[0]) == 0.0
    assert float(gelu(z)[1]) > 1e38
    assert math.isnan(float(tanh(z)[2]))
    relu = jb.kernel_as_activation(jb.unit_kernel(), "relu")
    assert float(jax.grad(relu)(0.0)) == 0.0


@pytest.mark.parametrize("target", ["relu", "repu(2)", "repu(3)"])
def test_a_switched_model_in_single_precision_keeps_the_bound_far_out(target):
    """What an engineer runs: float32, jit, the whole range of the claim."""

    def model(x):
        return jax.nn.gelu(x, approximate=False)

    ((_, _, _, certificate),) = jb.plan_switch(model, {"gelu": target}, jnp.asarray(Z), tol=1e-3)
    got = jax.jit(jb.switch(model, {"gelu": target}, tol=1e-3))(jnp.asarray(Z))
    want = Z.astype(np.float64) * 0.5 * np.vectorize(math.erfc)(-Z.astype(np.float64) / 2**0.5)
    rounding = 4e-7 * np.maximum(1.0, np.abs(Z))
    assert np.all(np.abs(np.asarray(got, np.float64) - want) <= certificate.upper + rounding)
