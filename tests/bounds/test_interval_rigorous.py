"""Both bounds by ball arithmetic: many digits, true for any numbers, and no tampering passes."""

from __future__ import annotations

import dataclasses
import json
import math

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxbarron.activations import Activation, Kink, activation, registered_activations
from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_norm import interval_norm
from jaxbarron.bounds.interval_rigorous import Evidence, rigorous_bounds
from jaxbarron.certificates import (
    certificate_of_bracket,
    interval_certificate,
    load,
    save,
    verify,
)
from jaxbarron.certificates.files import digest
from jaxbarron.errors import CertificateFileError, UnreachableTargetError, UsageError
from jaxbarron.measures import ParticleMeasure

SMOOTH = [f.name for f in registered_activations() if not f.kinks and f.homogeneity is None]


@pytest.mark.parametrize("s", [1, 2, 3, 4])
def test_nine_digits_are_proved(s: int) -> None:
    # the long form, with five particles each: tests/bounds/interval_gaps.py
    assert len(SMOOTH) >= 16
    spread, offset = ((1.0, 0.25), (-3.0, 0.5), (0.5, -1.75), (8.0, 1.0))[s - 1]
    for name in SMOOTH:
        found = interval_norm(name, s, spread=spread, offset=offset, level="rigorous")
        assert found.level == "rigorous"
        assert found.lower <= found.upper <= found.lower * (1 + 1e-9), name
        assert found.lower > 0 or name == "identity", name
        if s % 2 == 0:
            plain = interval_norm(name, s, spread=spread, offset=offset)
            assert plain.lower <= found.upper, name
            assert found.lower <= plain.upper, name


def test_values_that_are_known() -> None:
    found = interval_norm("relu", 1, spread=2.0, offset=0.5, level="rigorous")
    assert found.lower <= 2.5 <= found.upper <= 2.5 + 1e-9
    found = interval_norm("repu(3)", 2, level="rigorous")
    assert found.lower <= 7 <= found.upper <= 7 + 1e-9
    found = interval_norm("tanh", 2, spread=0.0, offset=0.5, level="rigorous")
    assert found.lower <= math.tanh(0.5) * (1 + 1e-16) <= found.upper * (1 + 1e-15)
    found = interval_norm("tanh", 0, spread=2.0, level="rigorous")  # Theorem Variation norm
    assert found.lower <= 2 * math.tanh(2.0) <= found.upper


def test_weight_l2_has_the_density_part_of_quadrature() -> None:
    # no excess at a large spread: int sqrt(1 + t^2) |f''| (l2 weight and free affine part)
    with mpmath.workdps(25):
        value = 2 * mpmath.quad(
            lambda t: mpmath.sqrt(1 + t * t) * abs(mpmath.diff(lambda y: mpmath.tanh(8 * y), t, 2)),
            [0, 0.25, 0.5, 1],
        )
    found = interval_norm("tanh", 1, spread=8.0, weight="l2", level="rigorous")
    assert found.lower == pytest.approx(float(value), rel=1e-12)
    assert found.gap < 1e-9


def test_weight_l2_with_a_kink_inside() -> None:
    # one particle of the space costs its weight; elu has a smooth side too, checked by quadrature
    for s in (1, 3):
        name, w, b = f"repu({s})", 2.0, 0.5
        found = interval_norm(name, s, spread=w, offset=b, weight="l2", level="rigorous")
        with mpmath.workdps(40):
            exact = mpmath.sqrt(mpmath.mpf(w) ** 2 + mpmath.mpf(b) ** 2) ** s
            assert mpmath.mpf(found.lower) <= exact <= mpmath.mpf(found.upper)
        assert found.gap < 1e-9
    w, b = 8.0, 0.5
    found = interval_norm("celu(1)", 1, spread=w, offset=b, weight="l2", level="rigorous")
    assert found.gap < 1e-9
    with mpmath.workdps(25):
        value = mpmath.quad(
            lambda t: mpmath.sqrt(1 + t * t) * w * w * mpmath.exp(w * t + b), [-1, -b / w]
        )
    evidence = Evidence((0.0, 0.0), (), (0.5,), (0.5,), (), ())
    density = rigorous_bounds(
        activation("celu(1)"), GaugeBody(1, "l2"), w, b, evidence
    ).lower  # M = 0: the density part alone
    assert density == pytest.approx(float(value), rel=1e-12)


@pytest.mark.parametrize("name", ["softsign", "hard_swish", "selu"])
def test_weight_l2_with_a_kink_at_any_place(name: str) -> None:
    # inside, at the ends, at 0, outside; at the level float 16 Gauss points on each cell
    for w, b in ((1.0, 0.0), (3.0, 0.0), (3.0, 3.0), (1.0, 1.0), (16.0, 3.0), (0.3, 7)):
        found = interval_norm(name, 1, spread=w, offset=b, weight="l2", level="rigorous")
        assert 0 < found.lower <= found.upper <= found.lower * (1 + 1e-9), (w, b)
        plain = interval_norm(name, 1, spread=w, offset=b, weight="l2")
        assert plain.upper == pytest.approx(found.upper, rel=1e-9), (w, b)


def test_declared_kinks_are_stored(tmp_path) -> None:
    import jax.numpy as jnp

    kink = Kink(0.25, (0.0, 1.0, 0.0, 0.0))
    own = Activation("own", lambda z: jnp.maximum(z - 0.25, 0.0), "own", kinks=(kink,))
    certificate = interval_certificate(own, 1, spread=2.0, weight="l2")
    file = tmp_path / "own.json"
    save(certificate, file)
    assert verify(file)
    assert load(file).source.kinks == (kink,)
    data = json.loads(file.read_text())
    for wrong in (0.5, math.inf):
        data["source"]["kinks"][0]["location"] = float(wrong).hex()
        data["digest"] = digest(data)
        file.write_text(json.dumps(data))
        if math.isfinite(wrong):
            assert not verify(file)  # the kink is elsewhere
        else:
            with pytest.raises(CertificateFileError, match="not finite"):
                load(file)
    del data["source"]["kinks"]  # as files of earlier releases
    data["digest"] = digest(data)
    file.write_text(json.dumps(data))
    assert load(file).source.kinks == ()
    assert not verify(file)


def test_any_evidence_gives_true_bounds() -> None:
    rng = np.random.default_rng(0)
    for s, name, spread, offset in ((1, "gelu", 2.0, 0.3), (2, "tanh", 0.7, 0.5)):
        exact = interval_norm(name, s, spread=spread, offset=offset, level="rigorous")
        body = GaugeBody(s)
        for _ in range(60):
            edges = tuple(np.sort(rng.uniform(-1, 1, 5)).tolist())
            evidence = Evidence(
                tuple(rng.normal(size=s + 1).tolist()), edges,
                tuple(rng.uniform(-0.7, 0.7, 6).tolist()), (),
                tuple(rng.uniform(-1, 1, 3).tolist()), tuple(rng.normal(size=3).tolist()),
            )  # fmt: skip
            found = rigorous_bounds(activation(name), body, spread, offset, evidence)
            assert found.lower <= exact.upper
            assert found.upper >= exact.lower


def test_a_network_with_cancellation() -> None:
    a, w, b = np.array([1.0, -1.5, 0.5]), np.array([1.0, -0.5, 2.0]), np.array([0.25, 0.5, -1.0])
    mu = ParticleMeasure(a[:, None], w[:, None], b)
    found = interval_norm(mu, 2, sigma="tanh", level="rigorous")
    plain = interval_norm(mu, 2, sigma="tanh")
    assert found.gap < 1e-9
    assert plain.lower <= found.upper
    assert found.lower <= plain.upper
    assert verify(certificate_of_bracket(found))
    with pytest.raises(UsageError, match="quotients of floats"):
        interval_norm(mu, 1, sigma="relu", level="rigorous")


def test_a_value_of_its_own_at_a_declared_kink_is_no_finite_claim() -> None:
    spike = Activation(
        "spike",
        lambda z: jnp.where(z == 0.25, 7.0, z * z),
        family="spike",
        kinks=(Kink(0.25, (0.0, 0.0, 0.0, 0.0)),),
    )
    found = interval_norm(spike, 1, spread=1.0, level="rigorous")
    assert found.lower == found.upper == math.inf


def test_an_undeclared_kink_is_no_finite_claim() -> None:
    import jax.numpy as jnp

    hidden = Activation("hidden", lambda z: jnp.maximum(z, 0.0) * z, family="hidden")
    nothing = Evidence((0.0, 0.0, 0.0), (), (0.0,), (), (), ())
    found = rigorous_bounds(hidden, GaugeBody(2), 1.0, 0.25, nothing)
    assert found.upper == math.inf
    assert "kink" in found.reason


def test_a_certificate_is_derived_again_and_tampering_fails(tmp_path) -> None:
    certificate = interval_certificate("tanh", 2, spread=1.3, offset=0.4)
    file = tmp_path / "norm.json"
    save(certificate, file)
    assert verify(file)
    assert load(file) == certificate
    evidence = certificate.evidence
    closer = {"lower": certificate.lower * (1 + 1e-9), "upper": certificate.upper * (1 - 1e-9)}
    moved = {
        "spread": certificate.spread * 1.001,
        "offset": certificate.offset + 1e-3,
        "s": 1,
        "weight": "l2",
        "source": activation("erf"),
        "evidence": dataclasses.replace(evidence, moments=(1.0, 0.0, 0.0)),
    }
    for field, value in (closer | moved).items():
        assert not verify(dataclasses.replace(certificate, **{field: value})), field
    wider = dataclasses.replace(certificate, lower=0.0, upper=99.0)
    assert verify(wider)
    for name, value in (("shares", (0.5,)), ("edges", (0.5, -0.5)), ("moments", ())):
        broken = dataclasses.replace(evidence, **{name: value})
        assert not verify(dataclasses.replace(certificate, evidence=broken))
    data = json.loads(file.read_text())
    data["evidence"]["moments"][0] = "nan"
    file.write_text(json.dumps(data))
    assert not verify(file)  # the digest
    with pytest.raises(CertificateFileError, match="not finite"):
        load(file)


def test_no_certificate_without_a_finite_rigorous_bound() -> None:
    with pytest.raises(UnreachableTargetError, match="level 'rigorous'"):
        certificate_of_bracket(interval_norm("tanh", 1))
    with pytest.raises(UnreachableTargetError, match="jumps"):
        interval_certificate("relu", 2)
