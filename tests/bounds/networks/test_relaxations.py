"""Tables and linear enclosures against mpmath and dense samples."""

from __future__ import annotations

import flint
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxbarron.activations import activation
from jaxbarron.bounds.networks.cells import Cells, Pair
from jaxbarron.bounds.networks.relaxations import enclosing_lines
from jaxbarron.bounds.replacements import Composite, Particle, Spline
from jaxbarron.certify import certified_kernel
from jaxbarron.programs import evaluate_program, trace

mpmath.mp.dps = 40


def pair_of(source: str, particles: int) -> tuple[Pair, object]:
    kernel, certificate = certified_kernel(source, "relu", particles=particles)
    leaves = (kernel.weights, kernel.directions, kernel.offsets)
    exact = [
        [flint.fmpq(*float(x).as_integer_ratio()) for x in leaf.reshape(-1)] for leaf in leaves
    ]
    spline = Spline([Particle(*x) for x in zip(*exact, strict=True)], 1)
    return Pair(activation(source).program, spline), certificate


def ranges(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    lower = rng.uniform(-9, 8, count)
    return lower, lower + 10.0 ** rng.uniform(-6, 0.7, count)


MPMATH = {
    "tanh": (mpmath.tanh, lambda z: mpmath.sech(z) ** 2),
    "gelu": (
        lambda z: z * mpmath.ncdf(z),
        lambda z: mpmath.ncdf(z) + z * mpmath.npdf(z),
    ),
}


@pytest.mark.parametrize("source", sorted(MPMATH))
def test_lines_hold_values_derivatives_and_errors(source: str) -> None:
    pair, certificate = pair_of(source, 12)
    assert isinstance(pair.kernel, Spline)
    lower, upper = ranges(1, 40)
    tables = Cells(pair).tables(lower.min(), upper.max())
    kernel = certificate.kernel
    leaves = (kernel.weights[:, 0], kernel.directions[:, 0], kernel.offsets)

    def kappa(z):
        terms = zip(*leaves, strict=True)
        return sum(mpmath.mpf(c) * max(mpmath.mpf(a) * z + mpmath.mpf(b), 0) for c, a, b in terms)

    value, slope = MPMATH[source]
    functions = (value, slope, lambda z: value(z) - kappa(z))
    rng = np.random.default_rng(2)
    for function, table in zip(functions, tables, strict=True):
        lines = enclosing_lines(table, lower, upper)
        for k in range(len(lower)):
            inside = rng.uniform(lower[k], upper[k], 6)
            for z in (lower[k], upper[k], *np.clip(inside, lower[k], upper[k])):
                line = mpmath.mpf(lines.slope[k]) * z + mpmath.mpf(lines.offset[k])
                assert abs(function(mpmath.mpf(z)) - line) <= lines.radius[k]


@pytest.mark.parametrize("source", ["tanh", "gelu", "silu", "softplus", "elu", "leaky_relu", "sin"])
def test_lines_are_nearly_the_narrowest(source: str) -> None:
    sigma = activation(source)
    lower, upper = ranges(3)
    values, slopes, _ = Cells(Pair(sigma.program)).tables(lower.min(), upper.max())
    z = lower[:, None] + (upper - lower)[:, None] * np.linspace(0, 1, 400)
    for table, program in ((values, sigma.program), (slopes, sigma.derivative().program)):
        g = evaluate_program(program, z)
        lines = enclosing_lines(table, lower, upper)
        beyond = np.abs(g - lines.slope[:, None] * z - lines.offset[:, None]).max(axis=1)
        assert np.all(beyond <= lines.radius + 1e-13)
        # never wider than the plain range, up to the pieces' own remainder
        assert np.all(lines.radius <= np.ptp(g, axis=1) / 2 * 1.01 + 2e-4 * (upper - lower) + 1e-7)


def test_errors_stay_below_the_certificate() -> None:
    pair, certificate = pair_of("silu", 16)
    table = Cells(pair).tables(-7.0, 7.0)[2]
    assert table is not None
    lines = enclosing_lines(table, np.array([-7.0]), np.array([7.0]))
    assert certificate.lower * (1 - 1e-3) <= lines.radius[0] + abs(lines.offset[0])
    assert lines.radius[0] + abs(lines.offset[0]) <= certificate.upper * (1 + 1e-4)


def test_a_jump_is_not_taken_for_a_kink() -> None:
    for step in (lambda z: jnp.where(z > 0, 1.0, 0.0), lambda z: jnp.where(z > 1 / 3, z, 0.0)):
        cells = Cells(Pair(trace(step)))
        cells.tables(-1.0, 1.0)
        assert cells.jumps == np.inf
    for kinked in (jax.nn.relu, jnp.abs, lambda z: jnp.maximum(z, 1 / 3), jax.nn.leaky_relu):
        cells = Cells(Pair(trace(kinked)))
        cells.tables(-1.0, 1.0)
        assert cells.jumps <= 1e-12


def test_a_jumping_kernel_is_refused() -> None:
    one = flint.fmpq(1)
    step = Spline([Particle(one, one, flint.fmpq(0))], 0)
    cells = Cells(Pair(activation("tanh").program, step))
    cells.tables(-1.0, 1.0)
    assert cells.jumps == np.inf


def test_kernels_of_smooth_particles() -> None:
    half = flint.fmpq(1, 2)
    parts = [Particle(2 * half, half, flint.fmpq(0)), Particle(-half, half, half)]
    sigmoid = activation("sigmoid")
    kernel = Composite(parts, sigmoid.program, [])
    table = Cells(Pair(activation("tanh").program, kernel)).tables(-4.0, 4.0)[2]
    lower, upper = ranges(5)
    keep = (lower > -4) & (upper < 4)
    lower, upper = lower[keep], upper[keep]
    z = lower[:, None] + (upper - lower)[:, None] * np.linspace(0, 1, 101)
    e = np.tanh(z) - 1 / (1 + np.exp(-z / 2)) + 0.5 / (1 + np.exp(-z / 2 - 0.5))
    lines = enclosing_lines(table, lower, upper)
    beyond = np.abs(e - lines.slope[:, None] * z - lines.offset[:, None]).max(axis=1)
    assert np.all(beyond <= lines.radius + 1e-14)
    wide = upper - lower > 0.01
    assert np.median((lines.radius / beyond)[wide]) < 1.05
