"""One-sided kernels: densities, matched cells, exact tails, cost."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from conftest import kernel_values
from scipy import stats
from scipy.integrate import quad

from jaxbarron.activations import Line, activation, repu
from jaxbarron.certificates import kernel_certificate
from jaxbarron.domains import Ball
from jaxbarron.errors import UnreachableTargetError, UsageError
from jaxbarron.kernels.convolutions import convolution_kernel
from jaxbarron.kernels.density import spline_limit
from jaxbarron.kernels.splines import spline_kernel
from jaxbarron.measures import ParticleMeasure, evaluate, push_forward
from jaxbarron.norms import norm
from jaxbarron.programs import evaluate_program


def smoothed_relu(z):
    return z * jax.scipy.stats.norm.cdf(z) + jax.scipy.stats.norm.pdf(z)


def smooth_leaky(z):
    return 0.125 * z + 0.875 * jnp.logaddexp(z, 0.0) - 0.5


SMOOTHED = activation(smoothed_relu)
LOGISTIC, NORMAL = stats.logistic(), stats.norm()
DENSITIES = [
    ("softplus", 1, LOGISTIC, 1.0, 0.0),
    ("softplus(3)", 1, stats.logistic(scale=1 / 3), 1.0, 0.0),
    ("sigmoid", 0, LOGISTIC, 1.0, 0.0),
    ("tanh", 0, stats.logistic(scale=1 / 2), 2.0, -1.0),
    ("erf", 0, stats.norm(scale=math.sqrt(1 / 2)), 2.0, -1.0),
    ("arctan", 0, stats.cauchy(), math.pi, -math.pi / 2),
    (SMOOTHED, 1, NORMAL, 1.0, 0.0),
]


def lines(source) -> dict[str, Line]:
    return {"left": Line(0.0, 0.0), "right": Line(1.0, 0.0)} if source is SMOOTHED else {}


# -------------------------------------------------------------- the densities


@pytest.mark.parametrize(("source", "s", "density", "scale", "constant"), DENSITIES)
def test_the_weights_are_the_masses_of_the_known_density(source, s, density, scale, constant):
    kernel = convolution_kernel(source, repu(s), particles=40, **lines(source))
    bent = kernel.directions[:, 0] != 0
    knots, masses = -kernel.offsets[bent], kernel.weights[bent, 0] / scale
    assert np.all(np.diff(knots) > 0)
    assert np.all(masses > 0)
    assert abs(masses.sum() - 1) < 1e-14
    # the mass of a cell lies on both sides of its particle
    below = np.cumsum(masses) - masses
    assert np.all(below - 1e-9 <= density.cdf(knots))
    assert np.all(density.cdf(knots) <= below + masses + 1e-9)
    assert kernel.weights[~bent, 0].sum() == constant
    if s == 1:
        assert abs(masses @ knots - density.mean()) < 1e-13


@pytest.mark.parametrize("name", ["softplus", "squareplus", SMOOTHED])
def test_a_convex_source_is_touched_from_below_by_every_piece(name):
    kernel = convolution_kernel(name, "relu", particles=12, **lines(name))
    knots = np.sort(-kernel.offsets)
    sigma = activation(name).program
    ends = np.concatenate([[knots[0] - 1e4], knots, [knots[-1] + 1e4]])
    worst = 0.0
    for a, b in itertools.pairwise(ends):
        z = np.linspace(a, b, 2001)
        gap = evaluate_program(sigma, z) - kernel_values(kernel, repu(1), z)
        assert gap.min() > -1e-11
        assert gap.min() < 1e-4
        worst = max(worst, gap[0] if a in knots else 0.0)
    certificate = kernel_certificate(kernel, name, "relu")
    assert certificate.lower <= worst * (1 + 1e-12)
    assert worst <= certificate.upper


@pytest.mark.parametrize(("name", "s"), [("tanh", 1), ("gelu", 1), ("tanh", 2), ("gelu", 2)])
def test_masses_have_the_sign_of_the_density(name: str, s: int) -> None:
    kernel = convolution_kernel(name, repu(s), particles=30)
    bent = kernel.directions[:, 0] != 0
    knots, weights = -kernel.offsets[bent], kernel.weights[bent, 0]
    density = evaluate_program(activation(name).derivative(s + 1).program, knots)
    assert np.all(np.sign(density) == np.sign(weights))


# ------------------------------------------------------------------ the error


@pytest.mark.parametrize(
    "name",
    ["softplus", "tanh", "sigmoid", "erf", "gelu", "silu", "mish", "log_cosh", "squareplus",
     "arctan", "softsign", "gaussian", "elu", "elu(0.5)", "selu", "celu(2)", "hard_swish"],
)  # fmt: skip
def test_the_error_on_all_of_r_is_certified_and_follows_the_law(name: str) -> None:
    errors = []
    for count in (32, 128):
        kernel = convolution_kernel(name, "relu", particles=count)
        assert kernel.particles <= count
        certificate = kernel_certificate(kernel, name, "relu")
        assert math.isinf(certificate.reach)
        errors.append(certificate.upper)
    law = 2 * spline_limit(name, 1) / 128**2
    # two atoms and the cells beside its two kinks go off the 128
    assert 0.95 * law < errors[1] < (1.15 if name == "hard_swish" else 1.12) * law
    assert 14 < errors[0] / errors[1] < 22


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "erf", "arctan", "gaussian", "softsign"])
def test_the_heaviside_step_gets_half_a_mass(name: str) -> None:
    sigma = activation(name)
    assert sigma.left is not None
    total = 2.0 if name == "gaussian" else sigma.right.intercept - sigma.left.intercept
    kernel = convolution_kernel(sigma, "heaviside", particles=41)
    steps = 41 - bool(sigma.left.intercept)
    certificate = kernel_certificate(kernel, name, "heaviside")
    # two equal halves need an even number
    assert total / 2 / steps * (1 - 1e-6) < certificate.upper < 1.06 * total / 2 / steps


@pytest.mark.parametrize(
    ("name", "s", "factor"),
    [("softplus", 2, 2.529), ("gelu", 2, 2.529), ("tanh", 2, 2.529), ("celu", 2, 2.529),
     ("arctan", 2, 2.529), ("tanh", 3, 7.366), ("erf", 3, 7.366)],
)  # fmt: skip
def test_higher_powers_follow_the_law_of_two_point_cells(name: str, s: int, factor: float) -> None:
    errors = [
        kernel_certificate(convolution_kernel(name, repu(s), particles=k), name, repu(s)).upper
        for k in (22, 70)
    ]
    ratio = errors[1] / (factor * spline_limit(name, s) / 70 ** (s + 1))
    assert 0.9 < ratio < (2.0 if name == "arctan" else 1.55)
    assert errors[0] / errors[1] > 0.7 * (70 / 22) ** (s + 1)


def test_a_cubic_kernel_with_a_slope_holds_on_a_long_reach() -> None:
    kernel = convolution_kernel("softplus", "repu(3)", particles=32)
    certificate = kernel_certificate(kernel, "softplus", "repu(3)", reach=2.0**20)
    assert certificate.upper < 8 * 2 * spline_limit("softplus", 3) / 32**4


def test_the_optimised_spline_is_better_by_the_stated_factor() -> None:
    ours = convolution_kernel("softplus", "relu", particles=24)
    best = spline_kernel("softplus", 1, particles=24)
    ratio = (
        kernel_certificate(ours, "softplus", "relu").upper
        / kernel_certificate(best, "softplus", "relu").upper
    )
    assert 1.9 < ratio < 2.4


def test_high_precision_values_stay_within_the_certificate() -> None:
    kernel = convolution_kernel("softplus", "repu(2)", particles=20)
    certificate = kernel_certificate(kernel, "softplus", "repu(2)")
    rng, worst = np.random.default_rng(0), mpmath.mpf(0)
    with mpmath.workdps(40):
        for z in [*rng.uniform(-12, 12, 300), -1e3, 1e3, 1e6]:
            x = mpmath.mpf(float(z))
            value = mpmath.log1p(mpmath.exp(-abs(x))) + max(x, 0)
            for c, alpha, beta in zip(
                kernel.weights[:, 0], kernel.directions[:, 0], kernel.offsets, strict=True
            ):
                inner = mpmath.mpf(float(alpha)) * x + mpmath.mpf(float(beta))
                value -= mpmath.mpf(float(c)) * max(inner, 0) ** 2
            worst = max(worst, abs(value))
    assert 0.5 * certificate.lower < worst <= certificate.upper


# -------------------------------------------------------------- exact tails


@pytest.mark.parametrize(
    ("name", "s"), [("gelu", 1), ("gelu", 2), ("log_cosh", 1), ("log_cosh", 2), ("selu", 1)]
)
def test_slopes_are_exact_and_one_ulp_is_seen(name: str, s: int) -> None:
    kernel = convolution_kernel(name, repu(s), particles=24)
    slope, square = Fraction(0), Fraction(0)
    for c, alpha, beta in zip(
        kernel.weights[:, 0], kernel.directions[:, 0], kernel.offsets, strict=True
    ):
        if alpha > 0:
            slope += s * Fraction(c) * Fraction(beta) ** (s - 1)
            square += Fraction(c)
    assert slope == Fraction(activation(name).right.slope)
    assert s == 1 or square == 0
    assert kernel_certificate(kernel, name, repu(s)).upper < 0.01
    weights = kernel.weights.copy()
    weights[5] = np.nextafter(weights[5], np.inf)
    faulty = ParticleMeasure(weights, kernel.directions, kernel.offsets)
    assert math.isinf(kernel_certificate(faulty, name, repu(s)).upper)


def test_a_left_line_of_any_slope() -> None:
    leaky = activation(smooth_leaky)
    kernel = convolution_kernel(
        leaky, "relu", particles=35, left=Line(0.125, -0.5), right=Line(1.0, -0.5)
    )
    assert kernel.particles == 35
    law = 0.875 * 2 * spline_limit("softplus", 1) / 32**2
    assert kernel_certificate(kernel, leaky, "relu").upper < 1.02 * law


def test_piecewise_linear_sources_are_their_kinks() -> None:
    kernel = convolution_kernel("relu6", "relu", particles=9)
    assert kernel.particles == 2
    assert kernel_certificate(kernel, "relu6", "relu").upper == 0


def test_no_particle_is_spent_where_the_density_is_zero() -> None:
    kernel = convolution_kernel("hard_swish", "relu", particles=6)
    # two kinks, and four cells of mass 1/2 in [-3, 3], each a mean away from an end by 3/4
    assert kernel.particles == 6
    assert kernel_certificate(kernel, "hard_swish", "relu").upper < 1.1 * 0.75**2 / 6


def test_few_knots_keep_an_exact_tail() -> None:
    kernel = convolution_kernel("elu", "repu(2)", particles=5)
    assert kernel.particles == 4
    assert kernel_certificate(kernel, "elu", "repu(2)").upper < 0.06


def test_one_particle_is_enough_for_one_cell() -> None:
    kernel = convolution_kernel("softplus", "relu", particles=1)
    # the logistic density has mass 1 and mean 0: the kernel is ReLU itself
    assert kernel.weights.tolist() == [[1.0]]
    assert abs(kernel.offsets[0]) < 1e-15


# ---------------------------------------------------------------------- cost


WEIGHTS = {
    "homogeneous": lambda t, r: r + abs(t),
    "inhomogeneous": lambda t, r: 1 + r + abs(t),
    "total_variation": lambda t, r: 1.0,
    "l2": lambda t, r: math.hypot(r, t),
    "bias_free": lambda t, r: r,
}


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize(("name", "s"), [("softplus", 1), ("tanh", 1), ("gelu", 1), ("gelu", 2)])
def test_the_norm_tends_to_that_of_the_density(name: str, s: int, weight: str, x64) -> None:
    density, radius = activation(name).derivative(s + 1).program, 1.5
    knots = [-1.2, -math.sqrt(2), 0.0, math.sqrt(2), 2.0]

    def integrand(t: float) -> float:
        value = abs(float(evaluate_program(density, np.float64(t))))
        return value / math.factorial(s) * WEIGHTS[weight](t, radius) ** s

    exact = quad(integrand, -30, 30, points=knots, limit=400, epsabs=1e-9)[0]
    constant = abs(activation(name).left.intercept)
    found = []
    for count in (33, 129) if s == 1 else (21, 61):
        kernel = convolution_kernel(name, repu(s), particles=count)
        value = float(norm(kernel, Ball(radius), weight=weight, order=s))
        # the particle of the left constant has reach 1, and no spread
        found.append(value - constant * (weight != "bias_free") * (2.0 if weight[0] == "i" else 1))
    assert abs(found[1] - exact) < 1e-3 * exact
    if s == 1:
        assert max(found) <= exact + 1e-7
    if weight in ("total_variation", "bias_free"):
        assert abs(found[0] - exact) < 2e-7 * exact


# --------------------------------------------------------------------- the rest


def test_a_network_in_single_precision_is_pushed_within_the_bound() -> None:
    keys = jax.random.split(jax.random.key(0), 4)
    mu = ParticleMeasure(
        jax.random.normal(keys[0], (20, 2)) / 5,
        jax.random.normal(keys[1], (20, 3)),
        jax.random.normal(keys[2], (20,)),
    )
    x = jax.random.normal(keys[3], (50, 3))
    kernel = convolution_kernel("gelu", "relu", particles=48)
    nu = push_forward(kernel, mu)
    assert nu.dtype == jnp.float32
    change = jax.jit(lambda m: evaluate(m, "relu", x))(nu) - evaluate(mu, "gelu", x)
    bound = kernel_certificate(kernel, "gelu", "relu").upper
    allowed = bound * float(jnp.sum(jnp.linalg.norm(mu.weights, axis=1)))
    assert float(jnp.max(jnp.linalg.norm(change, axis=1))) < allowed + 1e-4


@pytest.mark.parametrize(
    ("source", "target", "options", "error"),
    [
        ("softplus", "gelu", {}, UsageError),
        ("softplus", "repu(4)", {}, UsageError),
        ("softplus", "relu", {"particles": 0}, UsageError),
        ("gelu", "relu", {"particles": 2}, UsageError),
        ("tanh", "repu(2)", {"particles": 6}, UsageError),
        ("sin", "relu", {}, UnreachableTargetError),
        ("repu(2)", "relu", {}, UnreachableTargetError),
        ("softplus", "heaviside", {}, UnreachableTargetError),
        ("elu(0.5)", "repu(2)", {}, UnreachableTargetError),
        ("heaviside", "relu", {}, UnreachableTargetError),
    ],
)
def test_what_cannot_be_is_refused(source, target, options, error) -> None:
    with pytest.raises(error, match=r"given: .*; expected: .*; do: "):
        convolution_kernel(source, target, **options)


def test_the_least_number_of_particles_in_the_message_is_enough() -> None:
    with pytest.raises(UsageError, match="at least 3 "):
        convolution_kernel("gelu", "relu", particles=2)
    assert convolution_kernel("gelu", "relu", particles=3).particles == 3
    with pytest.raises(UsageError, match="at least 7 "):
        convolution_kernel("tanh", "repu(2)", particles=6)
    assert convolution_kernel("tanh", "repu(2)", particles=7).particles == 7
