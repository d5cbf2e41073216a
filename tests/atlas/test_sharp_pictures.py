"""Pictures of sharp constants: between the proved bounds, and of the objects that they name."""

import json
import math

import numpy as np
import pytest
from page_browser import chromium

from jaxbarron.activations import activation
from jaxbarron.atlas import atlas_document, atlas_page, embedding
from jaxbarron.atlas.sharp_pictures import functional_curve, ratio_curves, shares, sharp_picture
from jaxbarron.bounds.sharp.table import entries, lookup
from jaxbarron.programs import evaluate_program

WITH_EVIDENCE = [key for key, entry in entries().items() if entry.evidence is not None]
SOME = [
    ("softplus", 1, 1), ("softplus", 1, 2), ("elu", 1, 1), ("relu6", 1, 1), ("leaky_relu", 1, 1),
    ("tanh", 2, 2), ("silu", 3, 3), ("sigmoid", 4, 4), ("log_cosh", 2, 2), ("arctan", 1, 1),
]  # fmt: skip


@pytest.mark.parametrize("key", SOME)
def test_the_curves_agree_with_what_is_proved(key):
    entry = lookup(*key)
    curves = ratio_curves(activation(key[0]), entry)
    x, lower, upper, taylor = (np.asarray(curves[n]) for n in ("x", "lower", "upper", "taylor"))
    assert x[0] == 0
    assert np.all(np.diff(x) > 0)
    assert np.all(lower <= upper * (1 + 1e-12))
    assert np.all(upper <= taylor * (1 + 1e-12))
    assert np.max(upper) <= entry.upper * (1 + 1e-12)
    at_end = entry.reach > 1000
    # at reach 1023 of a limit: the weight and the tails are still a little larger
    assert np.max(lower) >= entry.lower * (1 - (4e-3 if at_end else 1e-12))
    # the norm itself does not decrease
    for row in (lower, upper):
        assert np.all(np.diff(row / (1 - x) ** key[2]) >= -1e-9 * (1 - x[1:]) ** -key[2])


def test_every_entry_with_evidence_has_a_small_picture():
    sizes = []
    for key in WITH_EVIDENCE:
        entry = lookup(*key)
        if key[1] == 1:
            picture = sharp_picture(activation(key[0]), entry)
            sizes.append(len(json.dumps(picture, allow_nan=False, separators=(",", ":"))))
            assert entry.lower * (1 - 1e-4) <= picture["value"] <= entry.upper * (1 + 1e-4)
        steps = shares(entry.evidence)
        partial = np.cumsum([a for _, a in steps])
        assert np.all((partial >= -1e-12) & (partial <= 1 + 1e-12))
        assert partial[-1] == pytest.approx(1, abs=1e-12)
        assert [t for t, _ in steps] == sorted(t for t, _ in steps)
    assert max(sizes) < 4000


def test_without_evidence_there_is_no_picture():
    key = next(key for key, entry in entries().items() if entry.evidence is None)
    assert sharp_picture(activation(key[0]), lookup(*key)) is None
    assert ratio_curves(activation(key[0]), lookup(*key)) == {}


@pytest.mark.parametrize("key", [k for k in WITH_EVIDENCE if lookup(*k).evidence.dual.moments])
def test_the_functional_stays_within_its_bounds(key):
    entry, s = lookup(*key), key[1]
    moments = entry.evidence.dual.moments
    u, values = map(np.asarray, functional_curve(moments, s))
    assert np.all(np.abs(values) <= np.where(np.abs(u) < 0.5, 2, 1))
    t = u[1:-1] / (1 - np.abs(u[1:-1]))
    q = sum(math.comb(s, k) * m * (-t) ** (s - k) for k, m in enumerate(moments))
    np.testing.assert_allclose(values[1:-1], q / (1 + np.abs(t)) ** s, rtol=0, atol=1e-12)
    # it touches them: a functional that could be scaled up would not be the best
    assert np.max(np.abs(values) / np.where(np.abs(u) < 0.5, 2, 1)) > 0.99
    too_large = np.asarray(functional_curve([1.02 * m for m in moments], s)[1])
    assert np.any(np.abs(too_large) > np.where(np.abs(u) < 0.5, 2, 1))


def density_of(name, s, points):
    sigma = activation(name)
    return evaluate_program(sigma.derivative(s + 1).program, points) / math.factorial(s)


def integral(values, points):
    return np.sum((values[1:] + values[:-1]) / 2 * np.diff(points))


def test_the_paper_s_kernel_costs_what_quadrature_says():
    curves = ratio_curves(activation("softplus"), lookup("softplus", 1, 1))
    for i in (10, 25, 40):
        rho = curves["x"][i] / (1 - curves["x"][i])
        t = np.linspace(-rho, rho, 20001)
        density = integral((rho + np.abs(t)) * density_of("softplus", 1, t), t)
        # sigma(0) = log 2 costs 1 each, sigma'(0) z = z/2 two particles of reach rho
        expected = (density + math.log(2) + rho) / (1 + rho)
        assert curves["taylor"][i] == pytest.approx(expected, rel=1e-6)
        assert density / (1 + rho) <= curves["lower"][i] * (1 + 1e-6)


def test_a_norm_that_is_known_is_the_curve():
    # z = z_+ - (-z)_+ and |z| = z_+ + (-z)_+ cost 2 rho; |f(1) - f(-1)| = 2 rho of z is as much
    for name in ("identity", "abs"):
        curves = ratio_curves(activation(name), lookup(name, 1, 1))
        x = np.asarray(curves["x"])
        np.testing.assert_allclose(curves["upper"], 2 * x, rtol=0, atol=1e-6)
        if name == "identity":
            np.testing.assert_allclose(curves["lower"], 2 * x, rtol=0, atol=1e-6)


def test_the_paper_s_kernel_takes_an_atom_at_zero_from_the_left():
    # 0.01 z + 0.99 z_+ costs 0.02 rho + 0.99 rho; from the right, 1 z and a left particle, 2.99 rho
    curves = ratio_curves(activation("leaky_relu"), lookup("leaky_relu", 1, 1))
    x = np.asarray(curves["x"])
    np.testing.assert_allclose(curves["taylor"], 1.01 * x, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("name", "s"), [("gelu", 1), ("tanh", 2), ("tanh", 3)])
def test_the_shares_make_the_function_without_a_polynomial(name, s):
    steps = shares(lookup(name, s, s).evidence)
    t = np.linspace(-30, 30, 20001)
    t = np.union1d(t, [place + d for place, _ in steps for d in (-1e-9, 1e-9)])
    density = density_of(name, s, t)
    share = sum(a * (place < t) for place, a in steps)
    z = np.linspace(-4, 4, 33)[:, None]
    right = np.maximum(z - t, 0) ** s * share
    left = (-1) ** (s + 1) * np.maximum(t - z, 0) ** s * (1 - share)
    made = np.asarray([integral(row * density, t) for row in right + left])
    exact = evaluate_program(activation(name).program, z[:, 0])
    np.testing.assert_allclose(made, exact, rtol=0, atol=2e-4)
    # with the paper's shares a polynomial remains
    alone = np.maximum(z - t, 0) ** s * (t > 0)
    alone = alone + (-1) ** (s + 1) * np.maximum(t - z, 0) ** s * (t < 0)
    rest = exact - np.asarray([integral(row * density, t) for row in alone])
    assert np.max(np.abs(rest)) > 0.5


# ------------------------------------------------------------------ in a browser


def test_chromium_draws_the_pictures(tmp_path):
    browse = chromium(tmp_path)
    found = [embedding("softplus", "relu"), embedding("tanh", "repu(2)")]
    document = atlas_document(found, "0", full=True)
    assert all(pair["sharp"]["level"] == "float" for pair in document["pairs"])
    assert "sharp" not in atlas_document(found, "0")["pairs"][0]
    page = atlas_page(document)
    read, messages = browse(page, "#softplus/relu")
    assert messages == []
    labels = [a.split(",")[0] for a in read.values("svg", "aria-label")]
    for label in (
        "Norm over weight against reach",
        "Shares of the density",
        "Shares of the density in the paper",
        "The functional of the lower bound",
    ):
        assert label in labels
    shown = read.inside("shown")
    for text in ("Sharp constant", "= 5.176", "the paper's kernel", "float"):
        assert text in shown
    read, messages = browse(page, "#tanh/repu(2)")
    assert messages == []
    assert "found in the limit" in read.inside("shown")
    labels = [a.split(",")[0] for a in read.values("svg", "aria-label")]
    assert "The functional of the lower bound" not in labels
    classes = read.values("path", "class")
    for kind in ("curve upper", "curve lower", "curve paper", "curve right", "curve left"):
        assert kind in classes
    del document["pairs"][1]["sharp"]
    read, messages = browse(atlas_page(document), "#tanh/repu(2)")
    assert messages == []
    assert "Sharp constant" not in read.inside("shown")
