"""Taylor, hierarchy and finite exact kernels, and polynomials by dominated particles."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import kernel_values
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.interpolate import BSpline

from jaxbarron.activations import activation, registered_activations, repu
from jaxbarron.domains import Ball
from jaxbarron.errors import DomainError, UnreachableTargetError, UsageError
from jaxbarron.kernels.combinations import bspline_kernel, combination_kernel
from jaxbarron.kernels.hierarchy import hierarchy_constant, hierarchy_kernel
from jaxbarron.kernels.polynomials import dominated_polynomial
from jaxbarron.kernels.taylor import taylor_kernel
from jaxbarron.norms import norm
from jaxbarron.programs import evaluate_program


def error(kernel, source, target, reach: float) -> float:
    z = np.linspace(-reach, reach, 4001)
    expected = evaluate_program(activation(source).program, z)
    return float(np.max(np.abs(kernel_values(kernel, activation(target), z) - expected)))


# ------------------------------------------------------------------ Taylor


@pytest.mark.parametrize("s", [1, 2, 3])
@pytest.mark.parametrize("centre", [0.0, 0.7, -2.0, 3.0])
@pytest.mark.parametrize("name", ["tanh", "gelu", "gelu_tanh", "silu", "softplus", "sin", "erf"])
def test_taylor_kernel_converges(name: str, s: int, centre: float) -> None:
    errors = [
        error(taylor_kernel(name, s, 3.0, centre=centre, nodes=n), name, repu(s), 3.0)
        for n in (8, 32, 128)
    ]
    # the quadrature of a function with a jump in its s-th derivative: order s + 1, at least s
    assert errors[1] < errors[0] / 4**s * 4 or errors[1] < 1e-8
    assert errors[2] < 2e-3 / 10 ** (2 * s - 2)


@pytest.mark.parametrize(
    ("name", "s"), [("elu", 2), ("celu(2)", 2), ("softsign", 2), ("elu(0.5)", 1), ("selu", 1),
                    ("hard_swish", 1), ("leaky_relu", 1), ("repu(2)", 2), ("repu(3)", 1)],
)  # fmt: skip
@pytest.mark.parametrize("centre", [0.0, 0.5, -0.5])
def test_kinks_become_particles(name: str, s: int, centre: float) -> None:
    kernel = taylor_kernel(name, s, 4.0, centre=centre, nodes=128)
    # midpoint error of 128 nodes on 8 units, at most h^2/8 |sigma''|, and sigma'' = 24 for z^3
    assert error(kernel, name, repu(s), 4.0) < (5e-3 if name == "repu(3)" else 2e-3)
    for kink in activation(name).kinks:
        if kink.jumps[s]:
            knots = -kernel.offsets / np.where(
                kernel.directions[:, 0] == 0, np.inf, kernel.directions[:, 0]
            )
            assert np.any(knots == kink.location)


def test_a_planted_fault_shows() -> None:
    kernel = taylor_kernel("tanh", 2, 3.0, nodes=128)
    weights = kernel.weights.copy()
    weights[len(weights) // 2] *= 1.01
    assert error(type(kernel)(weights, kernel.directions, kernel.offsets), "tanh", repu(2), 3.0) > (
        3 * error(kernel, "tanh", repu(2), 3.0)
    )


def test_taylor_cost_is_the_integral_of_the_theory() -> None:
    # the cost of the density part is 1/s! int |D(t)| (rho + |t|)^s dt on |t| <= rho
    reach, s = 3.0, 2
    kernel = taylor_kernel("tanh", s, reach, nodes=256)
    third = activation("tanh").derivative(3).program
    density, _ = quad(
        lambda t: abs(float(evaluate_program(third, np.float64(t)))) * (reach + abs(t)) ** s / 2,
        -reach, reach, points=[-0.658478948, 0.0, 0.658478948], limit=200,
    )  # fmt: skip
    polynomial = 3  # dominated particles stand first
    tail = type(kernel)(
        kernel.weights[polynomial:], kernel.directions[polynomial:], kernel.offsets[polynomial:]
    )
    assert float(norm(tail.astype(np.float32), Ball(reach), order=s)) == pytest.approx(
        density, rel=1e-3
    )


def test_taylor_kernel_refuses() -> None:
    with pytest.raises(UnreachableTargetError, match="jumps"):
        taylor_kernel("relu", 2, 1.0)
    with pytest.raises(UnreachableTargetError, match="jumps"):
        taylor_kernel("elu", 3, 1.0)
    for reach in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(DomainError, match="finite reach"):
            taylor_kernel("tanh", 1, reach)
    with pytest.raises(DomainError, match="centre"):
        taylor_kernel("tanh", 1, 1.0, centre=2.0)
    with pytest.raises(UsageError, match="1, 2 or 3"):
        taylor_kernel("tanh", 4, 1.0)
    with pytest.raises(UsageError, match="nodes"):
        taylor_kernel("tanh", 1, 1.0, nodes=0)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3),
    st.floats(0.1, 50.0),
    st.lists(st.floats(-10, 10, allow_subnormal=False), min_size=4, max_size=4),
)
def test_polynomials_by_dominated_particles(s: int, reach: float, numbers: list[float]) -> None:
    coefficients = np.array(numbers[: s + 1])
    kernel = dominated_polynomial(coefficients, s, reach)
    z = np.linspace(-reach, reach, 101)
    expected = np.polynomial.polynomial.polyval(z, coefficients)
    size = np.sum(np.abs(coefficients) * reach ** np.arange(s + 1))
    np.testing.assert_allclose(kernel_values(kernel, repu(s), z), expected, atol=1e-12 * (1 + size))
    assert np.all(kernel.offsets >= np.abs(kernel.directions[:, 0]) * reach * (1 - 1e-15))


# --------------------------------------------------------------- hierarchy

# t!/(s!(t-s-1)!) int_0^1 u^(t-s-1) (1+u)^s du, published values of the reference table
HIERARCHY = {(2, 1): 3, (3, 1): 5, (3, 2): 7, (4, 2): 17, (4, 3): 15}


@pytest.mark.parametrize(("t", "s"), [(t, s) for t in range(2, 6) for s in range(1, t)])
def test_hierarchy_constant_by_quadrature(t: int, s: int) -> None:
    from math import factorial

    integral, _ = quad(lambda u: u ** (t - s - 1) * (1 + u) ** s, 0, 1)
    expected = factorial(t) / (factorial(s) * factorial(t - s - 1)) * integral
    assert hierarchy_constant(t, s) == pytest.approx(expected, rel=1e-12)
    assert hierarchy_constant(t, s) == HIERARCHY.get((t, s), hierarchy_constant(t, s))


@pytest.mark.parametrize(("t", "s"), [(2, 1), (3, 1), (3, 2), (4, 2), (5, 3)])
@pytest.mark.parametrize("reach", [1.0, 6.0])
def test_hierarchy_kernel(t: int, s: int, reach: float) -> None:
    scale = reach**t
    kernel = hierarchy_kernel(t, s, reach, nodes=64)
    assert error(kernel, repu(t), repu(s), reach) < 1e-2 * scale / 64 ** (s - 1)
    assert np.all(kernel.weights > 0)
    cost = float(norm(kernel.astype(np.float32), Ball(reach), order=s))
    assert cost == pytest.approx(hierarchy_constant(t, s) * scale, rel=1e-3)


def test_hierarchy_refuses() -> None:
    for t, s in [(1, 1), (1, 2)]:
        with pytest.raises(UnreachableTargetError, match="t > s"):
            hierarchy_kernel(t, s, 1.0)
    with pytest.raises(UsageError, match="s >= 1"):
        hierarchy_kernel(2, 0, 1.0)
    with pytest.raises(DomainError, match="reach"):
        hierarchy_kernel(2, 1, 0.0)
    with pytest.raises(UsageError, match="nodes"):
        hierarchy_kernel(2, 1, 1.0, nodes=0)


# ------------------------------------------------------------ combinations

NAMES = [sigma.name for sigma in registered_activations()]
MORE = ["leaky_relu(0.5)", "swish(2)", "celu(2)", "softplus(3)", "prelu(-0.5)"]
PAIRS = [
    (a, b) for a in NAMES + MORE for b in NAMES + MORE
    if combination_kernel(a, b, reach=9.0) is not None
]  # fmt: skip


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_combinations_are_exact_to_rounding(source: str, target: str) -> None:
    kernel = combination_kernel(source, target, reach=9.0)
    assert kernel is not None
    assert error(kernel, source, target, 9.0) < 1e-14


def test_combinations_that_hold_everywhere_need_no_reach() -> None:
    everywhere = {(a, b) for a, b in PAIRS if combination_kernel(a, b) is not None}
    on_a_reach = {("relu", b) for b in ("abs", "hard_tanh", "relu6", "hard_sigmoid")}
    assert set(PAIRS) - everywhere == on_a_reach


def test_no_combination_is_invented() -> None:
    assert combination_kernel("gelu", "relu") is None
    assert combination_kernel("abs", "leaky_relu") is None
    assert combination_kernel("relu", "prelu(1)") is None
    assert combination_kernel("relu", "leaky_relu(-1)") is None  # that is abs: no odd part


@pytest.mark.parametrize("s", [1, 2, 3, 4])
def test_bsplines_against_scipy(s: int) -> None:
    z = np.linspace(0.0, s + 0.999, 301)
    expected = BSpline.basis_element(np.arange(s + 2))(z)
    np.testing.assert_allclose(kernel_values(bspline_kernel(s), repu(s), z), expected, atol=1e-12)
    outside = kernel_values(bspline_kernel(s), repu(s), np.array([-5.0, s + 6.0]))
    np.testing.assert_allclose(outside, 0.0, atol=1e-11)
