"""The closed-form constants against published values, mpmath's quadrature and each other."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxbarron.activations import Activation, Kink, activation, registered_activations
from jaxbarron.bounds import constants, density
from jaxbarron.bounds.constants import (
    Constant,
    absolute_moment,
    density_moment,
    density_part,
    polynomial_cost,
    polynomial_part,
    taylor_constant,
    variation_constant,
    weighted_moment,
)
from jaxbarron.bounds.growing_cost import growth_constant
from jaxbarron.errors import DomainError, UnknownActivationError, UsageError

# Source: mpmath, 25 digits, split at the roots; silu/3 at 40 digits (2.8935579791292219835).
TAYLOR = {
    "tanh/1": "2.47681168808847",
    "tanh/2": "2.85636108915552",
    "tanh/3": "3.07209734526544",
    "sigmoid/1": "1.03788284273999",
    "sigmoid/2": "1.12594590508891",
    "sigmoid/3": "1.20064773895303",
    "softplus/1": "1.62652337503645",
    "softplus/2": "1.41440621777644",
    "softplus/3": "1.42646010071996",
    "gelu_exact/1": "1.85679079752701",
    "gelu_exact/2": "2.0416540401866",
    "gelu_exact/3": "2.67518113919139",
    "silu/1": "2.21903251682259",
    "silu/2": "2.40535447433262",
    "silu/3": "2.89355797912922",
}
ORDERS = range(5)


def holds(found: Constant, value: str) -> bool:
    """Whether the enclosure holds some number that prints as ``value``."""
    half = mpmath.mpf(10) ** -len(value.partition(".")[2]) / 2
    with mpmath.workdps(40):
        return found.lower <= mpmath.mpf(value) + half and found.upper >= mpmath.mpf(value) - half


@pytest.mark.parametrize("key", TAYLOR)
def test_reference_values(key):
    name, s = key.split("/")
    found = taylor_constant(name, int(s))
    assert holds(found, TAYLOR[key])
    assert found.upper - found.lower <= 1e-14 * found.upper
    assert found.level == "rigorous"


def finite_orders(sigma: Activation) -> set[int]:
    """s for which T_s is finite: no kink of lower order, and a derivative that decays."""
    if sigma.name in ("sin", "cos"):
        return set()
    if sigma.homogeneity is not None:
        return {sigma.homogeneity}
    lowest = min(
        (next(j for j, jump in enumerate(k.jumps) if jump) for k in sigma.kinks), default=16
    )
    assert sigma.left is not None
    assert sigma.right is not None
    sloped = sigma.left.slope != 0 or sigma.right.slope != 0
    return {s for s in ORDERS if sloped <= s <= lowest}


@pytest.mark.parametrize("sigma", registered_activations(), ids=lambda a: a.name)
def test_every_registered_activation(sigma):
    finite = finite_orders(sigma)
    for s in ORDERS:
        found = taylor_constant(sigma, s)
        if s in finite:
            assert found.reason == ""
            assert found.lower <= found.upper <= found.lower * (1 + 1e-12)
            variation = variation_constant(sigma, s)
            assert variation.lower <= found.upper
            assert variation.upper <= variation.lower * (1 + 1e-12)
        else:
            assert found.upper == math.inf
            oscillates = sigma.name in ("sin", "cos")
            assert ("decay" in found.reason) == (oscillates or s < max(finite, default=s + 1))
            assert ("jumps at z = " in found.reason) == (bool(finite) and s > max(finite))
            assert found.lower == math.inf or oscillates


def test_the_table_is_long_enough():
    entries = [(a, s) for a in registered_activations() for s in finite_orders(a)]
    assert len(registered_activations()) >= 24
    assert len(entries) >= 80


@pytest.mark.parametrize(
    ("name", "s", "value"),
    [
        ("relu", 1, 1.0), ("heaviside", 0, 1.0), ("repu(7)", 7, 1.0), ("abs", 1, 2.0),
        ("leaky_relu(0.25)", 1, 0.75), ("relu6", 1, 7.0), ("hard_tanh", 1, 2.0),
        ("hard_swish", 1, 19 / 3), ("elu", 1, 1 + math.exp(-1)), ("softsign", 1, 3.0),
        ("softsign", 2, 5.5), ("sigmoid", 0, 1.0), ("arctan", 0, math.pi), ("identity", 3, 0.0),
        ("arctan", 1, 2 + math.pi / 2), ("hard_sigmoid", 1, 1.0), ("squareplus", 1, math.sqrt(5)),
    ],
)  # fmt: skip
def test_closed_forms(name, s, value):
    found = taylor_constant(name, s)
    assert found.lower - 1e-15 * value <= value <= found.upper + 1e-15 * value


# --------------------------------------------------------- against mpmath's quadrature


def sigmoid_derivative(n, z, m):
    """Sums of s^i (1 - s)^j: ``s' = s (1 - s)``, without cancellation."""
    near = 1 / (1 + m.exp(-abs(z)))
    small = m.exp(-abs(z)) * near
    positive = z >= 0
    s = near * positive + small * (1 - positive)
    r = small * positive + near * (1 - positive)
    if n == 0:
        return s
    row = {(1, 1): 1}
    for _ in range(n - 1):
        after: dict[tuple[int, int], int] = {}
        for (i, j), c in row.items():
            for place, factor in (((i, j + 1), i), ((i + 1, j), -j)):
                after[place] = after.get(place, 0) + c * factor
        row = after
    return sum(c * s**i * r**j for (i, j), c in row.items())


def hermite(n, z):
    low, high = 0 * z, 0 * z + 1
    for k in range(n):
        low, high = high, z * high - k * low
    return high


def normal_derivative(n, z, m):
    """The n-th derivative of the normal density."""
    return (-1) ** n * hermite(n, z) * m.exp(-z * z / 2) / m.sqrt(2 * m.pi)


# sigma^(n) for n >= 2, for numpy floats and for mpmath numbers alike.
DERIVATIVES = {
    "sigmoid": sigmoid_derivative,
    "tanh": lambda n, z, m: 2 ** (n + 1) * sigmoid_derivative(n, 2 * z, m),
    "softplus": lambda n, z, m: sigmoid_derivative(n - 1, z, m),
    "silu": lambda n, z, m: z * sigmoid_derivative(n, z, m) + n * sigmoid_derivative(n - 1, z, m),
    "gelu": lambda n, z, m: z * normal_derivative(n - 1, z, m) + n * normal_derivative(n - 2, z, m),
    "gaussian": lambda n, z, m: (
        m.sqrt(2 * m.pi) * m.sqrt(2) ** n * normal_derivative(n, z * m.sqrt(2), m)
    ),
    "sin": lambda n, z, m: m.sin(z + n * m.pi / 2),
}


def quadrature(g, start, end, digits=20):
    """int |g| from start to end: sign changes on a fine grid, polished, then mpmath.quad."""
    grid = np.linspace(float(start), float(end), 4001)
    values = np.asarray(g(grid, np), dtype=float)
    with mpmath.workdps(digits):
        cuts = [mpmath.mpf(start)]
        for k in np.nonzero(values[1:] * values[:-1] < 0)[0]:
            ends = mpmath.mpf(grid[k]), mpmath.mpf(grid[k + 1])
            cuts.append(mpmath.findroot(lambda z: g(z, mpmath), ends, solver="anderson"))
        cuts.append(mpmath.mpf(end))
        total = mpmath.mpf(0)
        for a, b in itertools.pairwise(cuts):
            count = max(1, math.ceil((b - a) / 2))
            points = [a + (b - a) * k / count for k in range(count + 1)]
            total += abs(mpmath.quad(lambda z: g(z, mpmath), points))
        return total


def agrees(found: Constant, exact, rel: float = 1e-12) -> bool:
    slack = 1e-13 * float(exact)
    inside = found.lower - slack <= float(exact) <= found.upper + slack
    return inside and found.upper - found.lower <= rel * found.upper


def between(name, s, weight, *cuts):
    """1/s! int of weight * |sigma^(s+1)|, cut where the weight has its kinks."""
    g = DERIVATIVES[name]
    total = sum(
        quadrature(lambda z, m: g(s + 1, z, m) * weight(z, m), a, b)
        for a, b in itertools.pairwise(cuts)
    )
    return total / math.factorial(s)


RANDOM = np.random.default_rng(5)


@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize("s", [1, 3])
def test_density_parts(name, s):
    w, b = round(float(RANDOM.uniform(0.1, 5)), 3), round(float(RANDOM.uniform(-3, 3)), 3)
    found = density_part(name, s, w, b)
    exact = between(name, s, lambda z, m: (w + abs(z - b)) ** s, b - w, b, b + w)
    assert agrees(found, exact)


@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize("s", [2, 4])
def test_taylor_constants_on_a_reach(name, s):
    reach = round(float(RANDOM.uniform(0.2, 12)), 3)
    found = taylor_constant(name, s, reach=reach)
    exact = between(name, s, lambda z, m: (reach + abs(z)) ** s, -reach, 0, reach)
    assert agrees(found, exact)
    assert agrees(density_part(name, s, reach, 0.0), exact)


@pytest.mark.parametrize("name", [n for n in DERIVATIVES if n != "sin"])
def test_moments_on_the_line(name):
    found = density_moment(name, 3, 2)
    far = 60 if name in ("sigmoid", "softplus", "silu") else 30
    assert agrees(found, between(name, 3, lambda z, m: (1 + abs(z)) ** 2, -far, 0, far))
    found = absolute_moment(name, 2, 1)
    assert agrees(found, between(name, 2, lambda z, m: abs(z), -far, 0, far))
    found = density_moment(name, 2, 2, reach=1.5)
    assert agrees(found, between(name, 2, lambda z, m: (1 + abs(z)) ** 2, -1.5, 0, 1.5))


@pytest.mark.parametrize("terms", [{2: 1.0, 3: -0.5}, {2: -0.75, 4: 0.25}, {3: 1 / 3, 5: 2.0}])
@pytest.mark.parametrize("name", ["tanh", "softplus", "gelu"])
def test_weighted_moments(name, terms):
    g = DERIVATIVES[name]

    def weighted(z, m):
        return sum(a * g(k, z, m) for k, a in terms.items()) * (1 + abs(z))

    far = 60 if name == "softplus" else 30
    exact = quadrature(weighted, -far, 0) + quadrature(weighted, 0, far)
    assert agrees(weighted_moment(name, terms, 1), exact)


def test_a_planted_fault_is_caught(monkeypatch):
    monkeypatch.setattr(constants, "reach_weight", lambda s: constants.distance_weight(
        constants.flint.fmpq(0), s, constants.flint.fmpq(0)
    ))  # fmt: skip
    assert not holds(taylor_constant("tanh", 2), TAYLOR["tanh/2"])


# ------------------------------------------------------------- what the theorems state


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["tanh", "softplus", "gelu", "elu", "hard_swish", "relu6", "arctan"]),
    st.floats(-3, 3).map(lambda x: 2.0**x),
    st.floats(-2, 2),
)
def test_one_constant_serves_every_reach(name, reach, offset):
    s = 1
    whole, cut = taylor_constant(name, s), taylor_constant(name, s, reach=reach)
    assert cut.lower <= whole.upper * (1 + reach) ** s * (1 + 1e-14)
    # and the density part of a particle is that of its own interval, at most the kernel's cost
    part = density_part(name, s, reach, offset)
    assert part.lower <= whole.upper * (1 + reach + abs(offset)) ** s * (1 + 1e-14)


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu6", "softsign", "sin"])
def test_growing_cost(name):
    s = 1
    c = growth_constant(name, s)
    assert c.lower <= c.upper <= c.lower * (1 + 1e-5)
    for reach in (0.1, 1.0, 4.0, 30.0):
        cost = taylor_constant(name, s, reach=reach)
        assert cost.lower <= c.upper * (1 + reach) ** (s + 1) * (1 + 1e-12)


def test_growing_cost_in_closed_form():
    # 2 sup|D| (2^(s+1) - 1)/(s+1)! with sup |D| = 1, and 4/(3 sqrt 3) for tanh''
    for s, value in ((0, 2.0), (1, 3.0), (2, 7 / 3), (3, 5 / 4)):
        for name in ("sin", "cos"):
            found = growth_constant(name, s)
            assert found.lower <= value <= found.upper <= value * (1 + 1e-5)
    found = growth_constant("tanh", 1)
    assert found.lower <= 3 * 4 / (3 * math.sqrt(3)) <= found.upper
    # an atom alone: sup of (rho + t)^s / (1 + rho)^(s+1), at most 1/2 for s = 1 at t = 0
    assert growth_constant("relu", 1).upper == pytest.approx(0.25 * 2, rel=1e-9)
    assert growth_constant(lambda z: jnp.exp(z), 1).upper == math.inf


def test_polynomial_parts():
    root = math.log(2)
    for name, s, value in (
        ("tanh", 1, 2.0), ("softplus", 2, root + 0.25 + 0.25), ("cos", 2, 2.0), ("relu", 1, 0.0),
        ("sigmoid", 1, 0.5 + 0.5), ("elu", 1, 2.0), ("gelu", 1, 1.0), ("heaviside", 0, 0.0),
    ):  # fmt: skip
        found = polynomial_part(name, s)
        assert found.lower - 1e-15 <= value <= found.upper + 1e-15
    assert polynomial_part("relu", 2).upper == math.inf
    assert "jumps at z = 0" in polynomial_part("relu", 2).reason
    assert polynomial_part(lambda z: jnp.abs(z), 1).upper == math.inf
    assert polynomial_part(lambda z: jnp.log(z), 1).upper == math.inf
    assert polynomial_cost(1, 1) == 2


# ------------------------------------------------------------------------------ kinks


@pytest.mark.parametrize("place", [0.3, 0.0, 0.5, -7.25, 8.0, 20.0])
@pytest.mark.parametrize(
    "shape",
    [
        lambda z: jnp.abs(z),
        lambda z: jax.nn.relu(z) * jnp.exp(-z * z),
        lambda z: jnp.where(z > 0, jnp.tanh(z), z),
        lambda z: jnp.maximum(z, 0.0) ** 2 / (1 + z * z),
        lambda z: jnp.where(z >= 0, 1.0, 0.0),
    ],
)
def test_a_kink_that_nobody_declared_is_never_a_finite_number(place, shape):
    def fn(z):
        return shape(z - place)

    for s in (0, 1, 2):
        for reach in (None, abs(place) + 1, abs(place) or None):
            found = taylor_constant(fn, s, reach=reach)
            assert found.upper == math.inf
            assert found.reason
    part = density_part(fn, 1, 0.25, place)
    assert part.upper == math.inf
    assert f"{place:.6g}" in part.reason


def declared(fn, place, jumps=(0.0, 1.0, 0.0, 0.0)) -> Activation:
    return Activation("own", fn, "own", (Kink(place, jumps),), elementwise=False)


def test_a_declared_kink_is_an_atom():
    for place in (0.3, 0.0, -5.5, 20.0):
        fn = lambda z, place=place: jnp.abs(z - place)  # noqa: E731
        found = taylor_constant(declared(fn, place, (0.0, 2.0, 0.0, 0.0)), 1)
        exact = 2 * max(1.0, abs(place))
        assert found.lower <= exact <= found.upper <= exact * (1 + 1e-14)
        # what is stated falsely is found out: it jumps, and is said not to
        false = declared(fn, place, (0.0, 0.0, 1.0, 0.0))
        assert taylor_constant(false, 2).upper == math.inf
        assert "jumps" in taylor_constant(false, 2).reason


def test_kinks_at_the_ends_of_a_reach():
    relu6 = taylor_constant("relu6", 1, reach=6.0)
    assert relu6.lower <= 6.0 <= relu6.upper <= 6.0 + 1e-13
    step = taylor_constant("heaviside", 0, reach=1.0)
    assert step.lower <= 1.0 <= step.upper
    clipped = activation("hard_tanh")
    assert taylor_constant(clipped, 1, reach=1.0).upper == 0.0
    assert taylor_constant(clipped, 1, reach=1.0 + 2.0**-52).lower >= 4.0


def test_double_roots_and_roots_at_joints():
    # D = exp(-z^2) z^2 (z - 1)^2 or so: never negative; its integral is a difference of values
    fn = lambda z: jnp.sqrt(jnp.pi) / 4 * jax.scipy.special.erf(z) - z * jnp.exp(-z * z) / 2  # noqa: E731
    found = taylor_constant(fn, 0)  # derivative z^2 exp(-z^2)
    exact = math.sqrt(math.pi) / 2
    assert found.lower <= exact * (1 + 1e-15)
    assert found.upper >= exact * (1 - 1e-15)
    assert found.upper - found.lower <= 1e-13


def test_scales():
    for scale in (1e-6, 1e-3, 1e3, 1e12):
        fn = lambda z, scale=scale: jnp.tanh(scale * z)  # noqa: E731
        assert agrees(variation_constant(fn, 1), 2 * scale)
        assert agrees(taylor_constant(fn, 0), 2.0)


@pytest.mark.parametrize("t", [4, 5, 9, 16])
def test_repu_of_high_power(t):
    name = f"repu({t})"
    assert taylor_constant(name, t).lower <= 1.0 <= taylor_constant(name, t).upper
    assert taylor_constant(name, t - 1).upper == math.inf
    assert "decay" in taylor_constant(name, t - 1).reason
    if t < 16:
        assert "jumps" in taylor_constant(name, t + 1).reason
    # on a reach: t!/(s! (t-s-1)!) int_0^rho u^(t-s-1) (rho + u)^s du
    found = taylor_constant(name, 1, reach=2.0)
    exact = t * (t - 1) * 2.0**t * (1 / (t - 1) + 1 / t)
    assert agrees(found, exact)


# ----------------------------------------------------------------------------- errors


@pytest.mark.parametrize("s", [-1, 17, 1.0, True, "1"])
def test_a_bad_order(s):
    for fn in (taylor_constant, variation_constant, growth_constant, polynomial_part):
        with pytest.raises(UsageError, match=r"given: .*; expected: .*; do: "):
            fn("tanh", s)


def test_bad_arguments():
    message = r"given: .*; expected: .*; do: "
    for reach in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(DomainError, match=message):
            taylor_constant("tanh", 1, reach=reach)
        with pytest.raises(DomainError, match=message):
            density_moment("tanh", 1, 0, reach=reach)
    for spread, offset in ((-1.0, 0.0), (math.nan, 0.0), (1.0, math.inf)):
        with pytest.raises(DomainError, match=message):
            density_part("tanh", 1, spread, offset)
    for power in (-1, 2):
        with pytest.raises(UsageError, match=message):
            density_moment("tanh", 1, power)
        with pytest.raises(UsageError, match=message):
            absolute_moment("tanh", 1, power)
    for terms, power in (
        ({}, 0),
        ({1: 1.0}, 1),
        ({18: 1.0}, 0),
        ({1: math.nan}, 0),
        ({1: 1.0}, -1),
    ):
        with pytest.raises(UsageError, match=message):
            weighted_moment("tanh", terms, power)
    with pytest.raises(UnknownActivationError):
        taylor_constant("tahn", 1)


def test_nothing_to_integrate():
    assert weighted_moment("tanh", {2: 0.0}, 1) == Constant(0.0, 0.0, "Antiderivative")
    assert density_part("tanh", 2, 0.0, 1.0).upper == 0.0
    assert taylor_constant("identity", 2).upper == 0.0


def test_results_do_not_depend_on_what_was_asked_before():
    first = [taylor_constant("mish", s) for s in ORDERS]
    density.integral.cache_clear()
    assert [taylor_constant("mish", s) for s in reversed(ORDERS)][::-1] == first
