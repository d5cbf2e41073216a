"""Every stated fact of every registered activation, against the function itself."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.special

from jaxbarron.activations import activation, is_registered, registered_activations, repu
from jaxbarron.errors import UnknownActivationError, UsageError
from jaxbarron.programs import Program, evaluate_program

EXTRA = ["leaky_relu(0.5)", "prelu(-0.5)", "elu(0.7)", "celu(2)", "softplus(3)", "swish(2.5)",
         "squareplus(0.1)", "repu(4)"]  # fmt: skip
ALL = [sigma.name for sigma in registered_activations()] + EXTRA

# The functions once more, by NumPy and SciPy alone.
PEERS = {
    "relu": lambda z: np.maximum(z, 0),
    "heaviside": lambda z: (z > 0) * 1.0,
    "repu(2)": lambda z: np.maximum(z, 0) ** 2,
    "repu(3)": lambda z: np.maximum(z, 0) ** 3,
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "prelu": lambda z: np.where(z > 0, z, 0.25 * z),
    "elu": lambda z: np.where(z > 0, z, np.exp(z) - 1),
    "celu(2)": lambda z: np.where(z > 0, z, 2 * np.exp(z / 2) - 2),
    "selu": lambda z: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(z)),
    "softplus": lambda z: np.log1p(np.exp(z)),
    "softplus(3)": lambda z: np.log1p(np.exp(3 * z)) / 3,
    "sigmoid": scipy.special.expit,
    "hard_sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
    "tanh": lambda z: 1 - 2 / (np.exp(2 * z) + 1),
    "hard_tanh": lambda z: np.clip(z, -1, 1),
    "gelu": lambda z: z * scipy.special.ndtr(z),
    "gelu_tanh": lambda z: z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "swish(1.702)": lambda z: z / (1 + np.exp(-1.702 * z)),
    "hard_swish": lambda z: z * np.clip(z + 3, 0, 6) / 6,
    "mish": lambda z: z * np.tanh(np.log1p(np.exp(z))),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "arctan": np.arctan,
    "erf": scipy.special.erf,
    "gaussian": lambda z: np.exp(-(z**2)),
    "log_cosh": lambda z: np.log(np.cosh(z)),
    "relu6": lambda z: np.clip(z, 0, 6),
    "abs": np.abs,
    "squareplus": lambda z: (z + np.sqrt(z**2 + 4)) / 2,
    "sin": np.sin,
    "cos": np.cos,
    "identity": lambda z: z,
}
Z = np.linspace(-7.03, 7.11, 1001)


def values(name: str, z: np.ndarray) -> np.ndarray:
    return np.asarray(evaluate_program(activation(name).program, z))


def test_at_least_24_families() -> None:
    assert len({sigma.family for sigma in registered_activations()}) >= 24
    assert set(PEERS) - set(EXTRA) <= set(ALL)


@pytest.mark.parametrize("name", sorted(PEERS))
def test_values_against_numpy_and_scipy(name: str) -> None:
    np.testing.assert_allclose(values(name, Z), PEERS[name](Z), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_jax_and_program_agree_in_both_precisions(name: str) -> None:
    sigma = activation(name)
    single = sigma(jnp.asarray(Z, jnp.float32))
    assert single.dtype == jnp.float32
    scale = 1 + np.abs(values(name, Z))
    # half a unit of z (4e-7 at |z| = 7) times the slope, and the rounding of the function
    assert np.max(np.abs(np.asarray(single) - values(name, Z)) / scale) < 4e-6
    with jax.enable_x64(True):
        double = sigma(jnp.asarray(Z, jnp.float64))
        assert double.dtype == jnp.float64
        np.testing.assert_allclose(np.asarray(double), values(name, Z), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ALL)
def test_name_gives_the_activation_back(name: str) -> None:
    sigma = activation(name)
    assert activation(sigma.name) == sigma
    assert is_registered(sigma)
    assert hash(activation(sigma.name)) == hash(sigma)


@pytest.mark.parametrize("name", ALL)
def test_program_survives_json(name: str) -> None:
    program = activation(name).program
    assert Program.from_json(program.to_json()) == program


@pytest.mark.parametrize("name", ALL)
def test_kinks_are_the_jumps_of_the_derivatives(name: str) -> None:
    sigma = activation(name)
    h = 1e-7
    programs = [sigma.program] + [sigma.derivative(j).program for j in (1, 2, 3)]
    for kink in sigma.kinks:
        for j, program in enumerate(programs):
            pair = np.asarray(evaluate_program(program, kink.location + np.array([-h, h])))
            # the smooth part moves by at most 2h times the next derivative
            assert pair[1] - pair[0] == pytest.approx(kink.jumps[j], abs=5e-6)


@pytest.mark.parametrize("name", ALL)
def test_no_derivative_jumps_elsewhere(name: str) -> None:
    sigma = activation(name)
    away = np.ones_like(Z, bool)
    for kink in sigma.kinks:
        away &= np.abs(Z - kink.location) > 1e-3
    grid = np.sort(np.concatenate([Z[away], [0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 0.5, 2.0]]))
    grid = np.array([z for z in grid if all(abs(z - k.location) > 1e-3 for k in sigma.kinks)])
    for j in range(4):
        program = sigma.program if j == 0 else sigma.derivative(j).program
        h = 1e-8
        jump = evaluate_program(program, grid + h) - evaluate_program(program, grid - h)
        scale = 1 + np.max(np.abs(evaluate_program(program, grid)))
        assert np.max(np.abs(jump)) < 1e-5 * scale


@pytest.mark.parametrize("name", ALL)
def test_asymptotic_lines(name: str) -> None:
    sigma = activation(name)
    for line, side in ((sigma.left, -1.0), (sigma.right, 1.0)):
        if line is None:
            continue
        z = side * np.array([1e3, 1e5, 1e7])
        gap = np.abs(values(name, z) - (line.slope * z + line.intercept))
        # exponential tails are there at once, algebraic ones (arctan, softsign, squareplus) as 1/z
        assert np.all(gap <= 4 / np.abs(z) + 1e-15 * np.abs(z))


@pytest.mark.parametrize("name", ALL)
def test_where_no_line_is_stated_there_is_none(name: str) -> None:
    sigma = activation(name)
    z = np.array([1e3, 2e3, 3e3])
    for line, side in ((sigma.left, -1.0), (sigma.right, 1.0)):
        if line is None:
            bend = np.diff(values(name, side * z), n=2)
            assert np.abs(bend[0]) > 1e-3


@pytest.mark.parametrize("name", ALL)
def test_parity(name: str) -> None:
    sigma = activation(name)
    even = np.max(np.abs(values(name, Z) - values(name, -Z)))
    odd = np.max(np.abs(values(name, Z) + values(name, -Z)))
    found = "even" if even < 1e-12 else "odd" if odd < 1e-12 else None
    assert found == sigma.parity


@pytest.mark.parametrize("name", ALL)
def test_growth_bounds_the_function(name: str) -> None:
    growth = activation(name).growth
    assert growth is not None
    z = np.concatenate([Z, np.logspace(-8, 6, 500), -np.logspace(-8, 6, 500), [0.0]])
    bound = growth.constant + growth.factor * np.abs(z) ** growth.order
    assert np.all(np.abs(values(name, z)) <= bound * (1 + 4e-16) + 1e-300)


@pytest.mark.parametrize("name", ["tanh", "gelu", "silu", "softplus", "mish", "selu", "repu(3)"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_against_mpmath(name: str, order: int) -> None:
    peers = {
        "tanh": mpmath.tanh,
        "gelu": lambda z: z * mpmath.ncdf(z),
        "silu": lambda z: z / (1 + mpmath.exp(-z)),
        "softplus": lambda z: mpmath.log(1 + mpmath.exp(z)),
        "mish": lambda z: z * mpmath.tanh(mpmath.log(1 + mpmath.exp(z))),
        "selu": lambda z: (
            mpmath.mpf("1.0507009873554805")
            * (z if z > 0 else mpmath.mpf("1.6732632423543772") * mpmath.expm1(z))
        ),
        "repu(3)": lambda z: max(z, 0) ** 3,
    }
    program = activation(name).derivative(order).program
    with mpmath.workdps(40):
        for z in (-2.3, -0.4, 0.7, 1.9):
            expected = float(mpmath.diff(peers[name], mpmath.mpf(z), order))
            assert float(evaluate_program(program, np.float64(z))) == pytest.approx(
                expected, rel=1e-9, abs=1e-12
            )


def test_any_scalar_function_is_an_activation() -> None:
    def branchy(z):
        return jax.lax.cond(z > 0, lambda u: u, lambda u: u * u, z)

    sigma = activation(branchy)
    assert sigma.name == "branchy"
    assert not is_registered(sigma)
    assert sigma(jnp.array([[-2.0, 3.0]])).tolist() == [[4.0, 3.0]]
    assert activation(jax.nn.gelu).name == "my_gelu"  # it is the tanh form, not "gelu"
    assert activation(sigma) is sigma


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("gleu", "gelu"), ("relux", "relu"), ("leaky", "leaky_relu"), ("Softplsu(2)", "softplus")],
)
def test_unknown_names_list_the_nearest(given: str, nearest: str) -> None:
    with pytest.raises(UnknownActivationError, match=nearest):
        activation(given)


@pytest.mark.parametrize(
    "given", ["elu(-1)", "softplus(0)", "leaky_relu(nan)", "swish(inf)", "repu(1.5)", "tanh(2)"]
)
def test_parameters_out_of_range(given: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        activation(given)


@pytest.mark.parametrize("s", [-1, 1.5, True, "2"])
def test_repu_wants_a_whole_number(s) -> None:
    with pytest.raises(UsageError, match="whole number"):
        repu(s)


def test_a_registered_name_is_not_given_away() -> None:
    with pytest.raises(UsageError, match="choose another"):
        activation(lambda z: z, name="tanh")


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("ReLU", "relu"), ("hard-swish", "hard_swish"), ("GELU exact", "gelu"), ("repu2", "repu(2)"),
     ("quick_gelu", "swish(1.702)"), ("swish(1)", "silu"), ("heaviside", "heaviside"),
     ("softplus(1)", "softplus"), ("step", "heaviside")],
)  # fmt: skip
def test_spellings(spelling: str, name: str) -> None:
    assert activation(spelling).name == name


def test_repu_by_its_definition() -> None:
    z = jnp.linspace(-2, 2, 9)
    for s in range(6):
        expected = jnp.where(z > 0, jnp.maximum(z, 0.0) ** s, 0.0)
        np.testing.assert_allclose(repu(s)(z), expected, rtol=1e-6)
        assert repu(s).homogeneity == s
        assert math.factorial(s) == (repu(s).kinks[0].jumps[s] if s < 4 else math.factorial(s))
