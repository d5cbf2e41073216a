"""Difference kernels: exactness, the error bound, the price."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxbarron.activations import activation
from jaxbarron.balls.suprema import supremum_of_program
from jaxbarron.certificates import kernel_certificate
from jaxbarron.domains import Ball
from jaxbarron.errors import DomainError, UsageError
from jaxbarron.kernels.derivatives import difference_kernel
from jaxbarron.measures import ParticleMeasure, derivative, evaluate, push_forward
from jaxbarron.norms import norm

SMOOTH = ["tanh", "sigmoid", "softplus", "gelu", "silu", "erf", "gaussian", "arctan", "log_cosh"]


@pytest.mark.parametrize("order", range(1, 9))
@pytest.mark.parametrize("step", [0.1, 0.25, 3.7e-3])
def test_it_is_the_central_difference(order: int, step: float) -> None:
    kernel = difference_kernel(order, step=step)
    weights = [Fraction(c) for c in kernel.weights[:, 0].tolist()]
    offsets = [Fraction(b) for b in kernel.offsets.tolist()]
    assert kernel.directions.tolist() == [[1.0]] * (order + 1)
    assert sum(weights) == 0
    # exact for polynomials of degree order + 1 in the reals; here to the rounding of the floats
    exact = step == 0.25
    for power in range(order + 2):
        moment = sum(c * b**power for c, b in zip(weights, offsets, strict=True))
        wanted = math.factorial(order) if power == order else 0
        size = sum(abs(c) * abs(b) ** power for c, b in zip(weights, offsets, strict=True))
        assert moment == wanted if exact else abs(moment - wanted) <= 2.0**-44 * size


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_certified_error_obeys_both_bounds(name: str, order: int) -> None:
    sigma, step = activation(name), 0.11
    kernel = difference_kernel(order, step=step)
    certificate = kernel_certificate(kernel, sigma.derivative(order), sigma)
    assert math.isinf(certificate.reach)
    first, second = (
        supremum_of_program(sigma.derivative(order + j).program, -16, 16).upper for j in (1, 2)
    )
    assert certificate.upper <= order * step**2 / 6 * second * (1 + 2e-3)
    assert certificate.upper <= step * math.sqrt(order / 3) * first
    # sharp as the step goes to zero
    assert certificate.lower >= 0.8 * order * step**2 / 6 * second


def test_a_false_step_would_be_seen() -> None:
    sigma = activation("tanh")
    kernel = difference_kernel(step=0.125)
    faulty = ParticleMeasure(kernel.weights * 1.01, kernel.directions, kernel.offsets)
    bound = 0.125**2 / 6 * 2.0
    assert kernel_certificate(kernel, sigma.derivative(), sigma).upper <= bound
    assert kernel_certificate(faulty, sigma.derivative(), sigma).lower > bound


def test_a_kink_is_smeared_over_the_step() -> None:
    relu = activation("relu")
    certificate = kernel_certificate(difference_kernel(step=0.125), "heaviside", relu)
    assert 0.499 < certificate.lower <= certificate.upper < 0.501


def test_high_precision_values_stay_within_the_certificate() -> None:
    kernel = difference_kernel(2, step=2.0**-6)
    sigma = activation("tanh")
    certificate = kernel_certificate(kernel, sigma.derivative(2), sigma)
    worst = mpmath.mpf(0)
    with mpmath.workdps(40):
        for z in np.linspace(-4, 4, 801):
            x = mpmath.mpf(float(z))
            value = -2 * mpmath.tanh(x) * mpmath.sech(x) ** 2
            for c, b in zip(kernel.weights[:, 0], kernel.offsets, strict=True):
                value -= mpmath.mpf(float(c)) * mpmath.tanh(x + mpmath.mpf(float(b)))
            worst = max(worst, abs(value))
    assert 0.99 * certificate.lower < worst <= certificate.upper


WEIGHTS = {
    "homogeneous": lambda r, b: r + b,
    "inhomogeneous": lambda r, b: 1 + r + b,
    "total_variation": lambda r, b: 1.0,
    "l2": math.hypot,
    "bias_free": lambda r, b: r,
}


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("order", [1, 2, 5])
@pytest.mark.parametrize("power", [1, 2])
def test_the_norm_is_an_average_over_random_signs(weight, order, power, x64) -> None:
    step, radius = 0.25, 1.5
    signs = list(itertools.product((-1, 1), repeat=order))
    walks = [WEIGHTS[weight](radius, step * abs(sum(e))) ** power for e in signs]
    expected = step**-order * sum(walks) / len(walks)
    found = float(norm(difference_kernel(order, step=step), Ball(radius), weight=weight,
                       order=power))  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-14)


def test_pushing_the_measure_of_a_derivative_gives_difference_quotients() -> None:
    keys = jax.random.split(jax.random.key(1), 4)
    with jax.enable_x64(True):
        mu = ParticleMeasure(
            *(jax.random.normal(k, shape, jnp.float64)
              for k, shape in zip(keys[:3], [(9, 1), (9, 2), (9,)], strict=True))
        )  # fmt: skip
        x = jax.random.normal(keys[3], (30, 2), jnp.float64)
        slope, prime = derivative(mu, "gelu", axis=1)
        kernel = difference_kernel(step=2.0**-7)
        bound = kernel_certificate(kernel, prime, "gelu").upper
        nu = push_forward(kernel, slope)
        change = evaluate(nu, "gelu", x) - evaluate(slope, prime, x)
        assert nu.particles == 18
        assert float(jnp.max(jnp.abs(change))) <= bound * float(jnp.sum(jnp.abs(slope.weights)))


@pytest.mark.parametrize("order", [0, 9, -1, 1.5])
def test_other_orders_are_refused(order) -> None:
    with pytest.raises(UsageError, match=r"given: .*; expected: .*; do: "):
        difference_kernel(order, step=0.1)


@pytest.mark.parametrize("step", [0.0, -1.0, math.inf, math.nan, 1e-60, 1e60])
def test_other_steps_are_refused(step: float) -> None:
    with pytest.raises(DomainError, match=r"given: .*; expected: .*; do: "):
        difference_kernel(8, step=step)
