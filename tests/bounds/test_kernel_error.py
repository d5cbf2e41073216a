"""The certified error: published values, closed forms, attacks, planted faults."""

from __future__ import annotations

import functools
import itertools
import math
import time

import flint
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxbarron.activations import activation, registered_activations, repu
from jaxbarron.balls import functions, series
from jaxbarron.bounds.kernel_error import kernel_error
from jaxbarron.bounds.replacements import Particle, Spline
from jaxbarron.errors import DomainError, NonFiniteError, ShapeError, ToleranceError, UsageError
from jaxbarron.programs import evaluate_program, trace


def certify(source, target, weights, directions, offsets, **options):
    sigma, tau = activation(source), activation(target)
    return kernel_error(
        sigma.program,
        tau.program,
        weights,
        directions,
        offsets,
        splits=[k.location for k in sigma.kinks],
        target_splits=[k.location for k in tau.kinks],
        target_homogeneity=tau.homogeneity,
        **options,
    )


def direct(source, target, **options):
    return certify(source, target, [1.0], [1.0], [0.0], **options)


def interpolant(source, count, width=6.0):
    """ReLU weights of the piecewise linear interpolant, dyadic, with exact tails."""
    sigma = activation(source)
    knots = np.round(np.linspace(-width, width, count) * 2**10) / 2**10
    values = np.round(evaluate_program(sigma.program, knots) * 2**24) / 2**24
    slopes = np.round(np.diff(values) / np.diff(knots) * 2**24) / 2**24
    left, right = sigma.left.slope, sigma.right.slope
    weights = list(np.diff([left, *slopes, right]))
    directions, offsets = [1.0] * count, list(-knots)
    if left:
        weights += [left, -left]
        directions += [1.0, -1.0]
        offsets += [0.0, 0.0]
    constant = values[0] - left * knots[0]
    return [*weights, constant], [*directions, 0.0], [*offsets, 1.0]


def attack(source, target, kernel, derivative=0, low=-30.0, high=30.0):
    """The largest error that dense sampling and local ascent find, in doubles."""
    sigma, tau = activation(source), activation(target)
    weights, directions, offsets = (np.asarray(x) for x in kernel)

    def error(z):
        total = -sum(
            c * evaluate_program(tau.program, a * z + b)
            for c, a, b in zip(weights, directions, offsets, strict=True)
        )
        return total + evaluate_program(sigma.program, z)

    with jax.enable_x64(True):
        g = error
        for _ in range(derivative):
            g = jax.grad(g)
        modulus = jax.jit(jax.vmap(lambda z: jnp.abs(g(z))))
        rng = np.random.default_rng(7)
        z = np.sort(
            np.concatenate([np.linspace(low, high, 20_001), rng.uniform(low, high, 10_000)])
        )
        seen = np.asarray(modulus(jnp.asarray(z)))
        best, span = seen.max(), (high - low) / 20_000
        for start in z[np.argsort(seen)[-20:]]:  # local ascent by shrinking grids
            centre, step = start, span
            for _ in range(8):
                around = np.clip(centre + np.linspace(-step, step, 101), low, high)
                values = np.asarray(modulus(jnp.asarray(around)))
                centre, step = around[values.argmax()], step / 25
                best = max(best, values.max())
    return float(best)


PUBLISHED = [
    ("gelu", "gelu_tanh", 4.732e-4),
    ("gelu", "quick_gelu", 2.033e-2),
    ("silu", "hard_swish", 0.1423),
    ("gelu", "relu", 0.1700),
]


@pytest.mark.parametrize(("source", "target", "value"), PUBLISHED)
def test_published_distances(source, target, value):
    found = direct(source, target, rel=1e-4)
    assert found.level == "rigorous"
    assert found.upper == pytest.approx(value, rel=4e-4)  # four digits were published
    assert found.lower <= found.upper <= found.lower * 1.0002


EXACT = [
    ("softplus", "relu", math.log(2)),
    ("tanh", "hard_tanh", 1 - math.tanh(1)),
    ("arctan", "softsign", math.pi / 2 - 1),
    ("squareplus", "relu", 1.0),
    ("heaviside", "sigmoid", 0.5),
    ("tanh", "heaviside", 1.0),
    ("selu", "elu", 1.0507009873554805 * 1.6732632423543772 - 1),
]


@pytest.mark.parametrize(("source", "target", "value"), EXACT)
def test_closed_forms(source, target, value):
    if source == "selu":  # the slopes on the right differ
        assert direct(source, target).upper == math.inf
        return
    found = direct(source, target)
    assert found.lower <= value * (1 + 1e-12)
    assert found.upper >= value * (1 - 1e-12)
    assert found.upper <= value * 1.002


def test_mpmath_agrees_on_the_extremum():
    found = direct("gelu", "quick_gelu", rel=1e-6)
    with mpmath.workdps(30):
        g = lambda z: z * mpmath.ncdf(z) - z / (1 + mpmath.exp(-mpmath.mpf(1.702) * z))  # noqa: E731
        z = mpmath.findroot(lambda z: mpmath.diff(g, z), 2.27)
        # JAX's GELU divides by a rounded sqrt(2): a change of 1e-16, far below the tolerance here.
        assert float(abs(g(z))) == pytest.approx(found.upper, rel=2e-6)


@pytest.mark.parametrize("sigma", registered_activations(), ids=lambda a: a.name)
def test_replacing_by_itself_costs_nothing(sigma):
    assert direct(sigma, sigma).upper == 0.0


def test_exact_combinations_cost_nothing():
    assert certify("leaky_relu", "relu", [1.0, -0.01], [1.0, -1.0], [0.0, 0.0]).upper == 0.0
    assert certify("hard_tanh", "relu", [1.0, -1.0, -1.0], [1.0, 1.0, 0.0], [1, -1, 1]).upper == 0.0
    assert certify("abs", "relu", [1.0, 1.0], [1.0, -1.0], [0.0, 0.0]).upper == 0.0
    assert certify("identity", "relu", [1.0, -1.0], [1.0, -1.0], [0.0, 0.0]).upper == 0.0
    assert certify("relu6", "relu", [1.0, -1.0], [1.0, 1.0], [0.0, -6.0]).upper == 0.0
    square = activation(lambda z: z * z, name="square")
    assert certify(square, "repu(2)", [1.0, 1.0], [1.0, -1.0], [0.0, 0.0]).upper == 0.0
    tanh = certify("tanh", "sigmoid", [2.0, -2.0], [2.0, 0.0], [0.0, 0.0])
    assert tanh.upper < 1e-25


KERNELS = [
    (source, count)
    for source in ("tanh", "gelu", "silu", "softplus", "arctan")
    for count in (6, 24)
]


@pytest.mark.parametrize(("source", "count"), KERNELS)
def test_no_attack_exceeds_the_certificate(source, count):
    kernel = interpolant(source, count)
    found = certify(source, "relu", *kernel)
    assert math.isfinite(found.upper), found.reason
    seen = attack(source, "relu", kernel)
    assert seen <= found.upper + 1e-13
    assert found.upper <= found.lower * 1.0015
    if abs(found.where) < 30:
        assert found.upper <= seen * 1.002


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["relu", "tanh", "softplus", "hard_swish", "repu(2)"]),
    st.sampled_from(["gelu", "sin", "elu", "mish"]),
    st.lists(
        st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=5
    ),
)
def test_random_kernels_on_a_reach(target, source, particles):
    kernel = tuple(map(list, zip(*particles, strict=True)))
    found = certify(source, target, *kernel, reach=5.0)
    sigma, tau = activation(source), activation(target)
    z = np.linspace(-5, 5, 4001)
    values = evaluate_program(sigma.program, z) - sum(
        c * evaluate_program(tau.program, a * z + b) for c, a, b in particles
    )
    seen = np.abs(values).max()
    assert seen <= found.upper * (1 + 1e-12) + 1e-12
    assert found.lower <= found.upper
    assert found.upper <= found.lower * 1.002 + 1e-20
    assert found.upper <= seen * 1.02 + 1e-12


def test_derivatives_of_quadratic_kernels():
    knots = np.linspace(-4, 4, 17)
    second = np.gradient(np.gradient(np.tanh(knots), knots), knots)
    weights = np.diff(second, prepend=0.0) / 2
    kernel = (list(weights), [1.0] * 17, list(-knots))
    for order in (0, 1):
        found = certify("tanh", "repu(2)", *kernel, reach=5.0, derivative=order)
        seen = attack("tanh", "repu(2)", kernel, derivative=order, low=-5.0, high=5.0)
        assert seen <= found.upper * (1 + 1e-12)
        assert found.upper <= seen * 1.002


def test_derivative_on_the_whole_line():
    found = direct("gelu", "gelu_tanh", derivative=1)
    kernel = ([1.0], [1.0], [0.0])
    seen = attack("gelu", "gelu_tanh", kernel, derivative=1)
    assert seen <= found.upper * (1 + 1e-12)
    assert found.upper <= seen * 1.002
    # The kinks coincide: the derivatives differ by 0.99 on one side and by nothing on the other.
    assert direct("relu", "leaky_relu", derivative=1).upper == pytest.approx(0.01, rel=1e-9)


def test_kinked_source_bounds_the_derivative_where_it_exists():
    found = certify("abs", "softplus", [1.0, 1.0], [1.0, -1.0], [0.0, 0.0], derivative=1)
    assert found.lower <= 1.0 <= found.upper <= 1.002  # sign(z) - tanh(z / 2) near 0


def test_one_ulp_in_a_weight_is_an_infinite_error():
    weights = [1.0, -math.nextafter(1.0, 0.0), -1.0]
    kernel = (weights, [1.0, 1.0, 0.0], [1.0, -1.0, 1.0])
    found = certify("hard_tanh", "relu", *kernel)
    assert found.lower == found.upper == math.inf
    assert "right" in found.reason
    # On a bounded reach the price is that ulp times the distance.
    bounded = certify("hard_tanh", "relu", *kernel, reach=2.0**20)
    assert bounded.upper == pytest.approx(2.0**-53 * (2**20 - 1), rel=2e-3)


def test_no_cubic_kernel_of_floats_has_a_slope_of_one():
    third = 1 / 3
    found = certify("identity", "repu(3)", [third, -third], [1.0, 1.0], [1.0, 0.0])
    assert found.upper == math.inf


def test_a_planted_wrong_rule_changes_the_certificate(monkeypatch):
    rule = functions.FUNCTIONS["erfc"]
    wrong = lambda run, u: rule(run, u) * flint.arb(0.98)  # noqa: E731
    true = direct("gelu", "relu", reach=5.0).upper
    monkeypatch.setitem(series._RULES, "erfc", wrong)
    series._compiled.cache_clear()
    try:
        planted = direct("gelu", "relu", reach=5.0).upper
    finally:
        monkeypatch.undo()
        series._compiled.cache_clear()
    seen = attack("gelu", "relu", ([1.0], [1.0], [0.0]), low=-5.0, high=5.0)
    assert seen <= true
    assert abs(planted - seen) > 1e-3  # the attack tells the wrong certificate from the right one


def test_growth_and_unknown_tails_give_a_reason():
    assert "grows" in direct("sin", "relu").reason
    assert "log" in direct(activation(lambda z: jnp.log(1 + z * z), name="lg"), "relu").reason
    pole = activation(lambda z: 1 / (z - 0.3), name="pole")
    found = direct(pole, "relu", reach=1.0, max_evaluations=300)
    assert found.upper == math.inf
    assert "0.3" in found.reason


def test_bounded_without_a_limit():
    # sin and cos have no line on R: the bound is true and wide, on a reach it is sharp.
    assert math.sqrt(2) <= direct("sin", "cos").upper <= 2.0
    assert direct("sin", "cos", reach=100.0).upper == pytest.approx(math.sqrt(2), rel=2e-3)


def test_far_knots_and_tiny_directions():
    found = certify("tanh", "relu", [1.0, 2.0**-30], [2.0**-40, 1.0], [-1.0, 2.0**20], reach=4.0)
    z = np.linspace(-4, 4, 20_001)
    seen = np.abs(np.tanh(z) - 2.0**-30 * np.maximum(z + 2.0**20, 0)).max()
    assert seen <= found.upper <= seen * 1.002


def test_heaviside_values_at_the_knots():
    # RePU_0(0) = 0: two steps back to back leave out the value at the knot itself.
    one = activation(lambda z: 0 * z + 1.0, name="one")
    found = certify(one, "heaviside", [1.0, 1.0], [1.0, -1.0], [0.0, 0.0])
    assert found.lower == found.upper == 1.0
    assert found.where == 0.0


def test_shapes_of_a_particle_measure():
    kernel = (np.ones((1, 1)), np.ones((1, 1)), np.zeros(1))
    assert certify("gelu", "relu", *kernel) == direct("gelu", "relu")


def test_spline_polynomials_are_exact():
    rng = np.random.default_rng(1)
    particles = [
        Particle(*(flint.fmpq(int(n), 8) for n in rng.integers(-20, 20, 3))) for _ in range(7)
    ]
    for s in (0, 1, 2, 3):
        spline = Spline(particles, s)
        ends = [spline.knots[0] - 1, *spline.knots, spline.knots[-1] + 1]
        for piece, (a, b) in enumerate(itertools.pairwise(ends)):
            middle = (a + b) / 2
            assert spline.polynomials[piece](middle) == spline.value(middle)


BAD = [
    ({"weights": []}, ShapeError),
    ({"weights": [1.0, 2.0]}, ShapeError),
    ({"weights": np.ones((1, 2))}, ShapeError),
    ({"directions": [math.nan]}, NonFiniteError),
    ({"offsets": [math.inf]}, NonFiniteError),
    ({"reach": 0.0}, DomainError),
    ({"reach": math.nan}, DomainError),
    ({"derivative": -1}, UsageError),
    ({"derivative": 1}, UsageError),
    ({"rel": 0.0}, ToleranceError),
]


@pytest.mark.parametrize(("change", "error"), BAD)
def test_bad_input(change, error):
    arguments = {"weights": [1.0], "directions": [1.0], "offsets": [0.0]} | change
    relu = repu(1)
    with pytest.raises(error, match=r"given: .*; expected: .*; do: "):
        kernel_error(trace(jnp.tanh), relu.program, target_homogeneity=1, **arguments)


@functools.cache
def _warm():
    certify("gelu", "relu", *interpolant("gelu", 8))


@pytest.mark.parametrize(("count", "limit"), [(8, 0.15), (32, 0.5)])
def test_speed(count, limit):
    _warm()
    kernel = interpolant("gelu", count)
    times: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        certify("gelu", "relu", *kernel)
        times.append(time.perf_counter() - start)
    assert min(times) < limit


# ------------------------------------------------------------- once found by attack


def one_particle(weight: float) -> tuple[list[float], list[float], list[float]]:
    return [weight], [1.0], [0.0]


@pytest.mark.parametrize("order", range(6, 11))
def test_high_derivatives_are_not_cut_off(order: int) -> None:
    # flint cuts series at a cap and reads 0 beyond it: the remainder term must not vanish so
    found = kernel_error(
        trace(jnp.sin), trace(jnp.sin), *one_particle(0.5), reach=3.0, derivative=order
    )
    assert found.lower <= 0.5 <= found.upper <= 0.501
    power = kernel_error(
        trace(lambda z: z**18), trace(jnp.tanh), *one_particle(0.0), reach=0.5, derivative=order
    )
    exact = math.perm(18, order) * 0.5 ** (18 - order)
    assert power.lower <= exact <= power.upper <= 1.002 * exact + 1e-12


def test_too_high_derivatives_are_refused() -> None:
    with pytest.raises(UsageError, match="at most 10"):
        kernel_error(trace(jnp.sin), trace(jnp.sin), *one_particle(0.5), derivative=11)


def test_guards_speak_where_their_operand_is_undefined() -> None:
    inverse = trace(lambda z: jnp.where(jnp.isinf(1 / z), 50.0, 0 * z))
    assert kernel_error(inverse, trace(jnp.tanh), *one_particle(0.0), reach=1.0).upper >= 50.0
    root = trace(lambda z: jnp.tanh(z) + 0.0 * jnp.sqrt(100 - z * z))
    assert math.isinf(kernel_error(root, trace(jnp.tanh), *one_particle(1.0)).upper)
