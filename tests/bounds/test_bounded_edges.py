"""Bounded activations in each other: the formulas by quadrature, their moments, planted faults."""

from __future__ import annotations

import itertools
import math

import flint
import mpmath as mp
import numpy as np
import pytest
from scipy import integrate, special

from jaxbarron import activation, embedding_constant
from jaxbarron.balls.series import working_precision
from jaxbarron.bounds import erf_edges, heat_edges
from jaxbarron.bounds.edges import edges
from jaxbarron.bounds.lower_bounds import lower_bounds
from jaxbarron.bounds.tiles import grid, integrals_of_modulus

Z = np.array([-2.5, -0.7, 0.0, 0.3, 1.1, 2.0])
ROOT_PI = math.sqrt(math.pi)


def slope(u):
    return 2 / ROOT_PI * np.exp(-u * u)


def third(u):
    return (4 * u * u - 2) * slope(u)


def nodes(a, b, panels=40):
    x, w = np.polynomial.legendre.leggauss(20)
    ends = np.linspace(a, b, panels + 1)
    half = np.diff(ends)[:, None] / 2
    return (ends[:-1, None] + half * (1 + x)).ravel(), (half * w).ravel()


def upper(source, target):
    return edges(activation(source), activation(target), 1)[0].upper


# --------------------------------------------------------------------- the formulas


def test_strip():
    nu, a = 1.4, math.pi / 2.8
    t, w = nodes(-8, 8)
    kappa = special.erf(t + 1j * a).imag / a
    value = np.tanh(nu * (Z[:, None] - t)) @ (w * kappa) / 2
    np.testing.assert_allclose(value, special.erf(Z), atol=1e-12)
    half, size = t > 0, np.abs(kappa)
    cost = max(np.sum((w * size * (1 + nu * t))[half]), nu * np.sum((w * size)[half]))
    assert cost <= upper("erf", "tanh") <= cost * 1.01


def test_poisson_kernel():
    width = 0.6
    u, w = nodes(-8, 8, 240)

    def extension(y):
        return np.arctan((Z[:, None] - u) / y) @ (w * slope(u)) / math.pi

    y, v = nodes(0, 2 * width, 60)
    hat = np.minimum(y, 2 * width - y)
    second = -np.array([np.arctan((Z[:, None] - u) / d) @ (w * third(u)) / math.pi for d in y])
    value = 2 * extension(width) - extension(2 * width) + (v * hat) @ second
    np.testing.assert_allclose(value, special.erf(Z), atol=1e-5)
    m1, m2, m3, m4 = (
        np.sum(w * np.abs(x)) for x in (slope(u), u * slope(u), third(u), u * third(u))
    )
    near = 3 * m1 + 2.5 * m2 / width + m3 * width**2 + 2 * width * math.log(2) * m4
    far = 2.5 * m1 / width + 2 * width * math.log(2) * m3
    assert upper("erf", "arctan") == pytest.approx(max(near, far) / math.pi, rel=1e-5)


def test_heat_kernel_of_the_gaussian():
    theta = 0.6
    u, w = nodes(-8, 8, 300)
    f1, f3 = -2 * u * np.exp(-u * u), (12 * u - 8 * u**3) * np.exp(-u * u)
    x, v = nodes(0, theta, 12)  # x = (2 s)^(1/2), ds = x dx
    value = special.erf((Z[:, None] - u) / theta) @ (w * f1) / 2
    for width, share in zip(x, v * x, strict=True):
        value -= share * (special.erf((Z[:, None] - u) / width) @ (w * f3)) / 4
    np.testing.assert_allclose(value, np.exp(-Z * Z), atol=1e-6)
    m1, m2, m3, m4 = (np.sum(w * np.abs(g)) for g in (f1, u * f1, f3, u * f3))
    near = (m1 + m2 / theta) / 2 + (m3 * theta**2 / 2 + m4 * theta) / 4
    far = m1 / (2 * theta) + m3 * theta / 4
    assert upper("gaussian", "erf") == pytest.approx(max(near, far), rel=1e-4)


@pytest.mark.parametrize("t", [1, 2, 3, 4])
def test_heat_kernel_of_a_power_on_a_reach(t):
    theta, eta = (float(x.p) / float(x.q) for x in heat_edges._POWERS.get(t, heat_edges._POWERS[3]))

    def f1(z):  # continued by lines to 0
        z = np.abs(z) if t == 1 else np.maximum(z, 0)
        return np.where(z <= 1, t * z ** (t - 1), t * np.maximum(1 - (z - 1) / eta, 0))

    # df'' by its atoms and its density on (0, 1)
    atoms = [(1.0, -t / eta - (t * (t - 1) if t > 1 else 0)), (1 + eta, t / eta)]
    if t == 1:
        atoms += [(-1.0, -1 / eta), (-1 - eta, 1 / eta)]
    if t == 2:
        atoms += [(0.0, 2.0)]
    u, w = nodes(0, 1, 8)
    density = t * (t - 1) * (t - 2) * u ** (t - 3) if t > 2 else 0 * u
    places = np.array([*(p for p, _ in atoms), *u])
    masses = np.array([*(m for _, m in atoms), *(w * density)])
    assert masses.sum() == pytest.approx(0, abs=1e-12)
    ends = sorted({-1 - eta, -1.0, 0.0, 1.0, 1 + eta})
    parts = [nodes(a, b, 40) for a, b in itertools.pairwise(ends)]
    v, share = (np.concatenate(x) for x in zip(*parts, strict=True))
    z = np.array([-0.9, -0.2, 0.0, 0.4, 1.0])
    total = share @ f1(v)
    middle = 0.0 if t == 1 else total / 2
    value = middle + special.erf((z[:, None] - v) / theta) @ (share * f1(v)) / 2
    x, s = nodes(0, theta, 40)
    for width, part in zip(x, s * x, strict=True):
        value -= part * (special.erf((z[:, None] - places) / width) @ masses) / 4
    np.testing.assert_allclose(value, z if t == 1 else np.maximum(z, 0) ** t, atol=1e-4)
    cost = middle * 2 / special.erf(1) + share @ (f1(v) * (1 + (1 + np.abs(v)) / theta)) / 2
    cost += np.sum(np.abs(masses) * (theta**2 / 2 + (1 + np.abs(places)) * theta)) / 4
    name = "identity" if t == 1 else f"repu({t})"
    assert cost <= upper(name, "erf") * (1 + 1e-9)
    assert upper(name, "erf") <= cost * 1.01


def test_gaussian_particles():
    a = 0.2
    c, w = nodes(-6, 6)
    x, v = nodes(math.sqrt(2) * a, math.sqrt(2))
    inner = np.exp(-(((x[:, None] * Z)[..., None] - c) ** 2)) @ (w * c * np.exp(-c * c))
    value = 4 / math.pi * (v / x) @ inner
    np.testing.assert_allclose(value, special.erf(Z) - special.erf(a * Z), atol=1e-12)
    weight = w * np.abs(c) * np.exp(-c * c)
    near = 4 / math.pi * np.sum(v / x) * (weight @ (1 + np.abs(c)))
    far = 4 / math.pi * v.sum() * weight.sum()
    assert near == pytest.approx(4 / math.pi * (1 + ROOT_PI / 2) * math.log(1 / a), rel=1e-9)
    assert far == pytest.approx(4 / math.pi * math.sqrt(2) * (1 - a), rel=1e-9)


def test_mixture_of_tanh():
    # sech^2 t = int exp(-v t^2) W(v) dv, W from the partial fractions
    v, w = nodes(0.03, 30.0, 400)
    a = (np.arange(1, 60) - 0.5) * math.pi
    density = np.sum((4 * a**2 * v[:, None] - 2) * np.exp(-(a**2) * v[:, None]), axis=1)
    assert np.all(density > -1e-9)
    value = special.erf(np.sqrt(v) * Z[:, None]) @ (w * density * ROOT_PI / (2 * np.sqrt(v)))
    np.testing.assert_allclose(value, np.tanh(Z), atol=1e-6)
    assert np.sum(w * density) == pytest.approx(1, abs=1e-6)
    assert upper("tanh", "erf") == 1.0


def test_mixtures_of_arctan_and_softsign():
    x, w = nodes(0, 8, 60)  # v = x^2
    value = special.erf(x * Z[:, None]) @ (w * ROOT_PI * np.exp(-x * x))
    np.testing.assert_allclose(value, np.arctan(Z), atol=1e-12)
    # (1 + y)^-2 = int u exp(-u) exp(-u y) du, and exp(-u y), y = |t|, at one place by mpmath
    u, y = mp.mpf(0.7), mp.mpf(1.3)
    stable = mp.quad(
        lambda v: u / (2 * mp.sqrt(mp.pi)) * v**-1.5 * mp.exp(-u * u / (4 * v) - v * y * y),
        [0, 0.1, 1, 10, mp.inf],
    )
    assert stable == pytest.approx(float(mp.exp(-u * y)), rel=1e-9)


def test_cancelling_kinks():
    h = 0.25

    def unit(p, q, z):
        alpha, m = 6 / (q - p), (p + q) / 2
        y = alpha * (z - m)
        return y * np.clip(y + 3, 0, 6) / 6 / alpha

    def rest(z):  # r'' = 1/h on (-h, h)
        return np.where(z < -h, 0, np.where(z < h, (z + h) ** 2 / (2 * h), 2 * z))

    z = np.linspace(-2, 2, 81)
    value = -unit(0, h, z) - unit(-h, 0, z) + unit(-h, h, z) + rest(z)
    np.testing.assert_allclose(value, np.maximum(z, 0), atol=1e-14)
    found = embedding_constant("relu", "hard_swish")
    assert (found.lower, found.upper) == (pytest.approx(2), 5.0)


# ------------------------------------------------------------------------ the moments


def test_moments_of_erf():
    with working_precision(128):
        found = [float(x.mid()) for x in erf_edges._moments_of_erf()]
    expected = [
        2 * integrate.quad(lambda u, f=f: abs(f(u)), 0, 9, points=[0.7071067811865476])[0]
        for f in (slope, lambda u: u * slope(u), third, lambda u: u * third(u))
    ]
    assert found == pytest.approx(expected, rel=1e-9)


def test_what_the_pair_of_gaussians_leaves():
    share, steep, shift = (float(x.p) / float(x.q) for x in erf_edges._PAIR)
    reach = float(erf_edges._REACH.p) / float(erf_edges._REACH.q)

    def rest(z):
        pair = mp.exp(-((steep * z - shift) ** 2)) - mp.exp(-((steep * z + shift) ** 2))
        return mp.erf(z) - share * pair

    theta, eta = (float(x.p) / float(x.q) for x in erf_edges._HEAT)
    u, w = nodes(0, reach, 4)
    d = [np.array([float(mp.diff(rest, x, k)) for x in u]) for k in (1, 3)]
    e1, e2 = (abs(float(mp.diff(rest, reach, k))) for k in (1, 2))
    m1 = w @ abs(d[0]) + e1 * eta / 2
    m2 = w @ abs(u * d[0]) + e1 * (reach * eta / 2 + eta**2 / 6)
    m3 = w @ abs(d[1]) + e2 + 2 * e1 / eta
    m4 = w @ abs(u * d[1]) + reach * (e2 + e1 / eta) + (reach + eta) * e1 / eta
    cost = 2 * ((m1 * (1 + reach / theta) + m2 / theta) / 2)
    cost += 2 * ((m3 * (theta**2 / 2 + reach * theta) + m4 * theta) / 4)
    with working_precision(128):
        found = float(erf_edges._remainder_of_the_pair().upper())
    assert cost * 0.99 <= found <= cost * 1.05


def test_what_the_particles_of_softsign_leave():
    rows = [tuple(float(x.p) / float(x.q) for x in row) for row in erf_edges.SOFTSIGN_PARTICLES]
    assert sum((2 if t else 1) * c / a for c, a, t in rows) == 0
    (edge,) = edges(activation("erf"), activation("softsign"), 1)
    assert f"sum of {sum(2 if t else 1 for _, _, t in rows)} particles" in edge.formula
    ends = np.concatenate([np.linspace(0, 4, 65), 4 * 1.1 ** np.arange(1, 80)])
    parts = [nodes(a, b, 4) for a, b in itertools.pairwise(ends)]
    u, w = (np.concatenate(x) for x in zip(*parts, strict=True))
    e1, e3 = slope(u), third(u)
    for c, a, t in rows:
        for centre in (t, -t) if t else (0.0,):
            e1 = e1 - c * a / (1 + a * abs(u - centre)) ** 2
            e3 = e3 - 6 * c * a**3 / (1 + a * abs(u - centre)) ** 4
    atoms = {t: 0.0 for _, _, t in rows}
    for c, a, t in rows:
        atoms[t] += 4 * c * a * a
    m = [2 * w @ abs(x) for x in (e1, u * e1, e3, u * e3)]
    m[2] += sum((2 if t else 1) * abs(x) for t, x in atoms.items())
    m[3] += sum(2 * abs(x) * t for t, x in atoms.items())
    with working_precision(128):
        found = [float(x.upper()) for x in erf_edges._moments_of_the_rest()]
    for have, want in zip(found, m, strict=True):
        # the slack: on wide tiles far out the terms of E'' cancel, their balls do not
        assert want * 0.999 <= have <= want * 1.3 + 0.03


def test_a_table_with_a_slip_is_no_contraction_or_dearer(monkeypatch):
    before = erf_edges._softsign_cost()
    first, *others = erf_edges.SOFTSIGN_PARTICLES
    wrong = ((-first[0], *first[1:]), *others)
    monkeypatch.setattr(erf_edges, "SOFTSIGN_PARTICLES", wrong)
    erf_edges._softsign_cost.cache_clear()
    try:
        with pytest.raises(AssertionError, match="no contraction"):
            erf_edges._softsign_cost()
    finally:
        monkeypatch.undo()
        erf_edges._softsign_cost.cache_clear()
    assert erf_edges._softsign_cost() == before


def test_tiles_stay_above_and_close():
    points = grid(flint.fmpq(0), flint.fmpq(3), 300)
    with working_precision(64):
        mass, moment = integrals_of_modulus(lambda u: (u.cos(), -u.sin()), points)
    exact = 2 - math.sin(3)
    assert exact <= float(mass.upper()) <= exact * 1.01
    exact = integrate.quad(lambda u: u * abs(math.cos(u)), 0, 3, points=[math.pi / 2])[0]
    assert exact <= float(moment.upper()) <= exact * 1.02


# ------------------------------------------------------------------- the jump of the slope


@pytest.mark.parametrize(
    ("source", "target", "value"),
    [("relu", "hard_swish", 2.0), ("abs", "hard_swish", 4.0), ("hard_tanh", "relu6", 1.0),
     ("relu", "abs", 0.5), ("prelu", "leaky_relu", 0.75 / 0.99)],
)  # fmt: skip
def test_the_jump_of_the_slope_is_a_lower_bound(source, target, value):
    bounds = lower_bounds(activation(source), activation(target), 1)
    found = next(b for b in bounds if b.functional == "jump of the slope")
    assert found.value == pytest.approx(value)
