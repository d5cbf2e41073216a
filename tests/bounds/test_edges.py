"""Edges of the atlas, attacked: identities in balls, costs by linear programs, densities."""

from __future__ import annotations

import dataclasses
import math

import flint
import numpy as np
import pytest
from scipy.optimize import linprog

from jaxbarron import activation, registered_activations, repu
from jaxbarron.balls.series import taylor_coefficients, working_precision
from jaxbarron.bounds.edges import RULES, Edge, edges, natural_order
from jaxbarron.bounds.identities import find_identity
from jaxbarron.bounds.lower_bounds import lower_bounds
from jaxbarron.errors import UsageError
from jaxbarron.programs import evaluate_program

EVERY = [*registered_activations(), activation("elu(0.5)"), activation("softplus(3)")]
BY_NAME = {a.name: a for a in EVERY}


# --------------------------------------------------------------------- identities

IDENTITIES = [(a, b) for a in EVERY for b in EVERY if a != b and find_identity(a, b) is not None]


@pytest.mark.parametrize(
    ("sigma", "tau"), IDENTITIES, ids=[f"{a.name}-{b.name}" for a, b in IDENTITIES]
)
def test_identities_hold_to_fifty_digits(sigma, tau):
    # z is a dyadic number away from kinks, so that every value is a tight ball
    with working_precision(256, 4):
        identity = find_identity(sigma, tau)
        for z in (-0.96875, -0.53125, -0.109375, 0.21875, 0.71875, 0.984375, -3.5625, 7.4375):
            if identity.reach is not None and abs(z) > identity.reach:
                continue
            value = taylor_coefficients(sigma.program, z, 1, 256)[0]
            total = sum(
                c * taylor_coefficients(tau.program, alpha * z + beta, 1, 256)[0]
                for c, alpha, beta in identity.particles
            )
            assert (total - value).contains(0)
            assert (total - value).rad() < 1e-50


def test_there_are_identities():
    assert len(IDENTITIES) >= 25


# ----------------------------------------------------------- lower bounds by duality

Y = np.cos(np.pi * np.arange(33) / 32)


def all_particles(tau) -> np.ndarray:
    """Directions and offsets, shape (n, 2): a grid of kinks for RePU_s, else many scales."""
    if tau.homogeneity is not None:  # only the shape matters
        kinks = np.linspace(-2, 2, 1601)
        alpha = np.concatenate([np.ones_like(kinks), -np.ones_like(kinks), [0.0]])
        return np.stack([alpha, np.concatenate([kinks, kinks, [1.0]])], axis=1)
    rng = np.random.default_rng(1)
    size, share = 10 ** rng.uniform(-2, 2.5, 8_000), rng.uniform(-1, 1, 8_000)
    alpha = size * share * rng.choice([0, 1, 1, 1], 8_000)
    return np.stack([alpha, size * (1 - np.abs(share)) * rng.choice([-1, 1], 8_000)], axis=1)


def atoms(tau, order: int, particles: np.ndarray) -> np.ndarray:
    """Weighted particles of tau at the points Y, shape (particles, 33)."""
    alpha, beta = particles.T
    reach = np.abs(alpha) + np.abs(beta)
    values = evaluate_program(tau.program, alpha[:, None] * Y + beta[:, None])
    s = tau.homogeneity
    weight = reach**s if s is not None else (1 + reach) ** order
    return values / weight[:, None]


def climb(g: np.ndarray, tau, order: int, particles: np.ndarray) -> np.ndarray:
    """Particles near the given ones on which g is larger, by random steps that shrink."""
    rng = np.random.default_rng(2)
    if tau.homogeneity is not None:
        return particles
    for step in 0.3 * 0.65 ** np.arange(14):
        scale = step * (np.sum(np.abs(particles), axis=1) + 0.01)[:, None, None]
        near = particles[:, None] + scale * rng.normal(size=(len(particles), 24, 2))
        near = np.concatenate([particles[:, None], near], axis=1)
        sizes = np.abs(atoms(tau, order, near.reshape(-1, 2)) @ g).reshape(len(particles), -1)
        particles = near[np.arange(len(particles)), np.argmax(sizes, axis=1)]
    return particles


def norm_from_below(f: np.ndarray, tau, order: int) -> float:
    """A lower bound of the Barron norm on [-1, 1], up to how well the worst particle is found.

    The particles that a solution violates most join the program, until they do so by 1 % at most.
    """
    fine = all_particles(tau)
    values = atoms(tau, order, fine)
    rows, best = values[:: len(fine) // 400], 0.0
    for _ in range(12):
        found = linprog(
            -f, np.concatenate([rows, -rows]), np.ones(2 * len(rows)), bounds=(-1e3, 1e3),
            method="highs",
        )  # fmt: skip
        assert found.status == 0, found.message
        worst = fine[np.argsort(-np.abs(values @ found.x))[:60]]
        joined = atoms(tau, order, climb(found.x, tau, order, worst))
        largest = max(np.max(np.abs(joined @ found.x)), np.max(np.abs(values @ found.x)), 1.0)
        best = max(best, float(f @ found.x) / largest)
        if largest < 1.01:
            break
        rows = np.concatenate([rows, joined])
    return best


def weight_of(sigma, order: int, w: float, b: float) -> float:
    rho = w + abs(b)
    return rho**sigma.homogeneity if sigma.homogeneity is not None else (1 + rho) ** order


def refutations(edge: Edge) -> list[tuple[float, float]]:
    """(w, b) at which the norm of a particle, from below, exceeds the edge's bound."""
    sigma, found = edge.source, []
    for w, b in ((1.0, 0.0), (12.0, 0.5)):
        f = evaluate_program(sigma.program, w * Y + b)
        below = norm_from_below(f, edge.target, edge.order)
        if below > edge.upper * weight_of(sigma, edge.order, w, b) * (1 + 1e-6):
            found.append((w, b))
    return found


ATTACKED = [
    ("tanh", "relu"), ("tanh", "repu(2)"), ("gelu", "relu"), ("gelu", "repu(3)"), ("silu", "relu"),
    ("elu", "relu"), ("selu", "relu"), ("softsign", "repu(2)"), ("squareplus", "relu"),
    ("hard_swish", "relu"), ("log_cosh", "relu"), ("gaussian", "repu(2)"), ("sigmoid", "heaviside"),
    ("repu(2)", "relu"), ("repu(3)", "relu"), ("repu(3)", "repu(2)"),
    ("relu", "heaviside"), ("repu(3)", "heaviside"), ("relu", "abs"), ("relu", "hard_tanh"),
    ("relu", "relu6"), ("relu", "hard_sigmoid"),
    ("relu", "leaky_relu"), ("relu", "prelu"), ("relu", "elu(0.5)"), ("relu", "selu"),
    ("leaky_relu", "relu"), ("abs", "relu"), ("hard_tanh", "relu"), ("identity", "gelu"),
    ("sigmoid", "tanh"), ("tanh", "sigmoid"), ("log_cosh", "softplus"), ("silu", "swish(1.702)"),
    ("tanh", "elu"), ("softplus", "celu"), ("gelu", "elu"), ("gaussian", "cos"), ("sin", "cos"),
    ("tanh", "softplus"), ("gelu", "softplus(3)"), ("elu", "silu"), ("softsign", "gelu"),
    ("tanh", "log_cosh"), ("gelu", "log_cosh"), ("identity", "log_cosh"), ("repu(2)", "gelu"),
    ("repu(3)", "softplus"), ("repu(2)", "log_cosh"),
    ("relu", "hard_swish"), ("repu(2)", "hard_swish"), ("repu(2)", "elu"), ("repu(3)", "celu"),
    ("tanh", "squareplus"), ("gelu", "mish"), ("tanh", "hard_swish"), ("gelu", "selu"),
    ("erf", "tanh"), ("erf", "gaussian"), ("erf", "softsign"), ("tanh", "erf"), ("arctan", "erf"),
    ("identity", "erf"), ("repu(2)", "erf"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target"), ATTACKED)
def test_no_dual_measure_refutes_an_edge(source, target):
    sigma, tau = BY_NAME[source], BY_NAME[target]
    found = edges(sigma, tau, natural_order(tau))
    assert found
    assert refutations(found[0]) == []


def test_the_bridge_from_the_spectral_space():
    for s, name in ((1, "sin"), (2, "cos")):
        assert edges(activation(name), repu(s), s) == ()
        (edge,) = edges(activation(name), repu(s), s + 1)
        assert edge.rule == "one reach"
        assert refutations(edge) == []


@pytest.mark.parametrize(
    ("source", "target", "factor"),
    [
        ("repu(2)", "relu", 0.98),
        ("repu(3)", "repu(2)", 0.9),
        ("tanh", "relu", 0.8),
        ("relu", "leaky_relu", 0.9),
        ("relu", "relu6", 0.8),
    ],
)
def test_a_bound_that_is_too_small_is_refuted(source, target, factor):
    tau = BY_NAME[target]
    edge = edges(BY_NAME[source], tau, natural_order(tau))[0]
    assert refutations(dataclasses.replace(edge, upper=edge.upper * factor))


# ------------------------------------------------------------------ lower and upper


def test_no_lower_bound_exceeds_an_upper_bound():
    seen = 0
    for sigma in EVERY:
        for tau in EVERY:
            order = natural_order(tau)
            found = edges(sigma, tau, order)
            if not found or sigma == tau:
                continue
            for bound in lower_bounds(sigma, tau, order):
                assert bound.value <= found[0].upper, (bound, found[0])
                seen += 1
    assert seen > 200


@pytest.mark.parametrize(
    ("t", "s", "constant"), [(2, 1, 3), (3, 1, 5), (3, 2, 7), (4, 2, 17), (4, 3, 15)]
)
def test_hierarchy_is_attained(t, s, constant):
    # the values of Theorem Hierarchy; the density part at w = 1, b = 0 is the same number
    edge = edges(repu(t), repu(s), s)[0]
    assert edge.upper == constant
    assert max(b.value for b in lower_bounds(repu(t), repu(s), s)) == constant


@pytest.mark.parametrize(
    ("source", "s", "constant"),
    [
        ("tanh", 1, 2.0),
        ("tanh", 2, 8 / (3 * math.sqrt(3))),
        ("tanh", 3, 10 / 9),
        ("erf", 1, 4 / math.sqrt(math.pi)),
        ("log_cosh", 1, 2.0),
        ("sigmoid", 2, 0.5),
        ("softplus", 2, math.log(2)),
        ("gaussian", 1, 4 * math.sqrt(2 / math.e)),
    ],
)
def test_sharp_constants(source, s, constant):
    # TV(sigma^(s))/s! by hand, or the value at the particle w = 0, b = 0
    sigma = activation(source)
    upper = edges(sigma, repu(s), s)[0].upper
    lower = max(b.value for b in lower_bounds(sigma, repu(s), s))
    assert lower <= constant * (1 + 1e-12)
    assert constant * (1 - 1e-12) <= upper
    assert upper <= lower * (1 + 2e-6)


@pytest.mark.parametrize(
    ("source", "target", "places"),
    [
        ("gelu", "repu(2)", [(4.0, 0.0), (1.0, 0.5), (0.3, 1.0)]),
        ("softplus", "relu", [(6.2, 0.0), (2.0, -1.0), (0.5, 2.0)]),
        ("sigmoid", "relu", [(5.8, 0.0), (1.0, 1.0), (0.2, 3.0)]),
        ("elu", "relu", [(1.0, 0.0), (3.0, 0.5), (0.5, -1.0)]),
        ("arctan", "repu(2)", [(8.0, 0.0), (1.0, 0.5)]),
    ],
)
def test_no_dual_measure_refutes_a_sharp_edge(source, target, places):
    sigma, tau = BY_NAME[source], BY_NAME[target]
    edge = edges(sigma, tau, natural_order(tau))[0]
    assert edge.rule == "one reach"
    cells = RULES["reach cells"](sigma, tau, edge.order)
    assert cells is not None
    assert cells.upper >= edge.upper
    for w, b in places:
        f = evaluate_program(sigma.program, w * Y + b)
        below = norm_from_below(f, tau, edge.order)
        assert below <= edge.upper * weight_of(sigma, edge.order, w, b) * (1 + 1e-6), (w, b)
    # the test has teeth: the density part alone comes within a third of both bounds
    w, b = places[0]
    f = evaluate_program(sigma.program, w * Y + b)
    weight = weight_of(sigma, edge.order, w, b)
    assert norm_from_below(f, tau, edge.order) > 0.65 * cells.upper * weight


def test_better_than_the_sum_of_the_parts():
    # tanh -> relu: A_1 = int |t| |D| = 2, and the mean of both one-sided kernels has no polynomial
    edge = edges(activation("tanh"), activation("relu"), 1)[0]
    assert 2 <= edge.upper <= 2 + 1e-12
    # elu -> relu: A_1 = int |t| |D| = 1, the lines -1 and z in the shares 2/3 and 1/3: 5/3
    edge = RULES["taylor"](activation("elu"), activation("relu"), 1)
    assert 5 / 3 - 1e-12 <= edge.upper <= 5 / 3 + 1e-3
    # sigmoid -> Heaviside: the variation 1, from the left line 0
    edge = edges(activation("sigmoid"), repu(0), 1)[0]
    assert 1 <= edge.upper <= 1 + 1e-12


# ----------------------------------------------------------------------- densities


@pytest.mark.parametrize("alpha", [0.5, 3.0])
def test_inverse_convolution_gives_relu_back(alpha):
    # kappa = delta/eta + (1 - 1/eta) exp(-|t|/|eta|)/|eta| on the side of t < 0 (eta > 0) or t > 0
    eta, h = 1 - alpha, 1e-3
    t = np.arange(h / 2, 60 * abs(eta), h) * (-1 if eta > 0 else 1)
    density = (1 - 1 / eta) * np.exp(-np.abs(t) / abs(eta)) / abs(eta) * h

    def elu(z):
        return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))

    for z in (-2.0, -0.3, 0.0, 0.4, 3.0):
        value = elu(np.float64(z)) / eta + np.sum(density * elu(z - t)) + alpha
        assert abs(value - max(z, 0)) < 1e-5
    found = edges(activation("relu"), activation(f"elu({alpha})"), 1)[0]
    mass = abs(1 / eta) + float(np.sum(np.abs(density)))
    assert mass - 1e-5 <= found.upper <= mass + 1e-5


@pytest.mark.parametrize(("source", "length"), [("tanh", 1.0), ("softplus", 2.0), ("gelu", 1.0)])
def test_resolvent_gives_the_source_back(source, length):
    sigma, tau = activation(source), activation(f"celu({length})")
    h = 1e-3
    t = np.arange(-40, 40, h) + h / 2
    second = evaluate_program(sigma.derivative(2).program, t)
    third = evaluate_program(sigma.derivative(3).program, t)
    density = (second - length * third) * h
    left, right = sigma.left, sigma.right
    constant = left.intercept + length * (right.slope - left.slope)
    for z in (-3.0, -0.5, 0.0, 1.3, 4.0):
        value = left.slope * z + constant + np.sum(density * evaluate_program(tau.program, z - t))
        assert abs(value - evaluate_program(sigma.program, np.float64(z))) < 1e-5
    found = next(e for e in edges(sigma, tau, 1) if e.rule == "resolvent")
    assert found.upper >= np.sum(np.abs(density) * (1 + np.abs(t))) - 1e-5


def test_the_blur_of_softplus_is_made_of_finer_softplus():
    # Theorem Ramps: H'' = s(v) - s(2v), s the logistic function; x / sinh x at scale 4 is undone by
    # m(t) = (4/pi) Im H'(t + i pi/4), where H' is the integral of H''
    def slope(v):  # of H, in closed form: log(1 + exp(v)) - log(1 + exp(2 v))/2, tending to 0
        return np.log1p(np.exp(v)) - np.log1p(np.exp(2 * v)) / 2

    h = 2e-3
    t = np.arange(-30, 30, h) + h / 2
    m = 4 / np.pi * np.imag(slope(t + 0.25j * np.pi)) * h
    assert abs(np.sum(m)) < 1e-9
    assert np.sum(np.abs(m) * (1 + np.abs(t))) < 10
    for v in (-3.0, -0.4, 0.0, 1.1, 5.0):
        blurred = np.sum(m / (1 + np.exp(-4 * (v - t))))
        assert abs(blurred - np.real(slope(np.complex128(v)))) < 1e-6


def test_mean_of_the_gaussian_spectrum():
    xi = np.arange(-40, 40, 1e-3) + 5e-4
    mean = (
        np.sum(np.exp(-(xi**2) / 4) * np.maximum(1, np.abs(xi))) * 1e-3 / (2 * math.sqrt(math.pi))
    )
    found = edges(activation("gaussian"), activation("cos"), 1)[0]
    assert abs(found.upper - mean) < 1e-6


# ----------------------------------------------------------------------- bad input


@pytest.mark.parametrize("order", [0, -1, 17, 1.0, True, "1"])
def test_orders_that_are_none(order):
    with pytest.raises(UsageError, match="a whole number from 1 to 16"):
        edges(activation("tanh"), activation("relu"), order)


def test_nothing_is_found_where_nothing_is_known():
    assert edges(activation("relu"), activation("tanh"), 1) == ()
    assert edges(activation("relu"), repu(2), 2) == ()
    assert edges(repu(2), activation("abs"), 1) == ()
    # an identity into RePU_s needs the order s at least
    assert edges(activation("heaviside"), activation("relu"), 1) == ()


def test_precision_is_put_back():
    before = flint.ctx.prec
    edges(activation("log_cosh"), activation("softplus"), 1)
    assert flint.ctx.prec == before
