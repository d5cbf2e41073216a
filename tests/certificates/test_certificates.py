"""Certificates: true claims verify, changed ones do not, broken files are refused."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import kernel_values

import jaxbarron as jb
from jaxbarron.certificates.files import FORMAT, VERSION, digest
from jaxbarron.errors import (
    CertificateFileError,
    DomainError,
    ShapeError,
    ToleranceError,
    UnknownActivationError,
    UnreachableTargetError,
    UsageError,
)
from jaxbarron.programs import evaluate_program


@pytest.fixture
def saved(tmp_path):
    _, certificate = jb.certified_kernel("tanh", "repu2", tol=1e-2, derivatives=1)
    path = tmp_path / "certificate.json"
    jb.save(certificate, path)
    return certificate, path


def rewrite(path, change) -> None:
    """Change the content and mend the digest: only the mathematics can notice."""
    data = json.loads(path.read_text())
    change(data)
    data["digest"] = digest(data)
    path.write_text(json.dumps(data))


def shift(text: str, factor: float) -> str:
    return (float.fromhex(text) * factor).hex()


# ------------------------------------------------ known distances, direct kernels


@pytest.mark.parametrize(
    ("source", "target", "distance"),
    [
        ("gelu", "gelu_tanh", 4.732e-4),
        ("gelu", "quick_gelu", 2.033e-2),
        ("silu", "hard_swish", 0.1423),
        ("gelu", "relu", 0.1700),
        ("softplus", "relu", math.log(2)),
        ("relu", "leaky_relu", math.inf),
    ],
)
def test_direct_replacements(source: str, target: str, distance: float) -> None:
    kernel, certificate = jb.certified_kernel(source, target, direct=True)
    assert kernel.particles == 1
    assert certificate.upper == pytest.approx(distance, rel=2e-3)
    assert certificate.lower <= certificate.upper
    assert certificate.level == "rigorous"


@pytest.mark.parametrize("name", [s.name for s in jb.registered_activations()])
def test_the_identity_costs_nothing(name: str) -> None:
    _, certificate = jb.certified_kernel(name, name)
    assert certificate.upper == 0.0
    assert jb.verify(certificate)


# -------------------------------------- truth and tightness, by samples and ascent

CASES = [
    ("gelu", 1, 1e-3, None), ("gelu_tanh", 2, 1e-3, None), ("silu", 3, 1e-3, None),
    ("tanh", 1, 1e-2, None), ("tanh", 3, 1e-3, None), ("softplus", 2, 1e-2, None),
    ("mish", 1, 1e-2, None), ("elu", 2, 1e-2, None), ("selu", 1, 1e-2, None),
    ("relu", 2, 1e-2, None), ("hard_swish", 1, 1e-2, None), ("arctan", 1, 1e-2, None),
    ("gaussian", 2, 1e-2, None), ("sin", 1, 1e-2, 6.0), ("cos", 3, 1e-2, 4.0),
    ("repu(2)", 1, 1e-2, 3.0), ("log_cosh", 3, 1e-2, None), ("squareplus", 1, 1e-2, None),
]  # fmt: skip


@pytest.mark.parametrize(("source", "s", "tol", "reach"), CASES)
def test_no_observed_error_exceeds_the_certified_one(source, s, tol, reach) -> None:
    kernel, certificate = jb.certified_kernel(source, jb.repu(s), tol=tol, reach=reach)
    assert certificate.upper <= tol
    sigma, tau = jb.activation(source), jb.repu(s)
    rng = np.random.default_rng(0)
    span = min(certificate.reach, 12.0)
    z = rng.uniform(-span, span, 10_000)

    def gap(points):
        return np.abs(kernel_values(kernel, tau, points) - evaluate_program(sigma.program, points))

    observed = gap(z)
    best = z[np.argsort(observed)[-64:]]
    step = 1e-2
    for _ in range(60):  # ascent from the worst points: the better of two neighbours, or closer in
        moved = np.clip(best + step * np.array([[-1.0], [0.0], [1.0]]), -span, span)
        best = np.take_along_axis(moved, np.argmax(gap(moved), axis=0)[None], axis=0)[0]
        step *= 0.85
    # what double precision itself does to a sum of K powers
    scale = np.sum(np.abs(kernel.weights[:, 0]) * (12 + np.abs(kernel.offsets)) ** s)
    largest = float(max(gap(best).max(), observed.max()))
    assert largest <= certificate.upper + 1e-15 * scale
    assert certificate.upper <= 1.01 * largest + 1e-15 * scale
    # Far out the powers cancel: there the kernel is summed in rational numbers.
    far = rng.choice([-1.0, 1.0], 60) * np.exp(rng.uniform(2.5, 12, 60))
    for point in far[np.abs(far) <= certificate.reach]:
        value = float(exact_value(kernel, s, point))
        expected = float(evaluate_program(sigma.program, point))
        assert abs(value - expected) <= certificate.upper + 1e-15 * abs(expected)


def exact_value(kernel, s: int, point: float) -> Fraction:
    total = Fraction(0)
    columns = (kernel.weights[:, 0], kernel.directions[:, 0], kernel.offsets)
    for c, alpha, beta in zip(*columns, strict=True):
        y = Fraction(alpha) * Fraction(point) + Fraction(beta)
        total += Fraction(c) * max(y, Fraction(0)) ** s
    return total


@pytest.mark.parametrize(("source", "s"), [("gelu", 2), ("tanh", 2), ("silu", 3), ("tanh", 3)])
def test_derivatives_are_certified_too(source: str, s: int) -> None:
    kernel, certificate = jb.certified_kernel(source, jb.repu(s), tol=1e-2, derivatives=s - 1)
    assert [error.derivative for error in certificate.errors] == list(range(s))
    z = np.linspace(-12, 12, 20_001)
    weights, power = kernel.weights[:, 0], float(s)
    for j in range(1, s):
        weights = weights * kernel.directions[:, 0] * power
        power -= 1
        exact = type(kernel)(weights[:, None], kernel.directions, kernel.offsets)
        derivative = evaluate_program(jb.activation(source).derivative(j).program, z)
        largest = np.max(np.abs(kernel_values(exact, jb.repu(s - j), z) - derivative))
        assert largest <= certificate.errors[j].upper * (1 + 1e-12)
        assert certificate.errors[j].upper <= 1.01 * largest
    with pytest.raises(UsageError, match="s - 1"):
        jb.certified_kernel(source, jb.repu(s), tol=1e-2, derivatives=s)


def test_a_users_own_function() -> None:
    mine = jb.activation(lambda z: z * jax.nn.sigmoid(z) + 0.1 * jnp.sin(z) * jnp.exp(-z * z))
    kernel, certificate = jb.certified_kernel(mine, "relu", tol=1e-2)
    z = np.linspace(-20, 20, 20_001)
    gap = np.abs(kernel_values(kernel, jb.repu(1), z) - evaluate_program(mine.program, z))
    assert gap.max() <= certificate.upper <= 1e-2
    assert math.isinf(certificate.reach)


@pytest.mark.parametrize("target", ["leaky_relu", "abs", "hard_tanh", "relu6", "prelu"])
def test_targets_that_represent_relu(target: str) -> None:
    kernel, certificate = jb.certified_kernel("gelu", target, tol=1e-2, reach=6.0)
    z = np.linspace(-6, 6, 5001)
    gap = np.abs(
        kernel_values(kernel, jb.activation(target), z)
        - evaluate_program(jb.activation("gelu").program, z)
    )
    assert gap.max() <= certificate.upper <= 1e-2
    assert jb.verify(certificate)
    with pytest.raises(UnreachableTargetError, match="reach="):
        jb.certified_kernel("gelu", target, tol=1e-2)


# ------------------------------------------------------------- save, load, verify


def test_round_trip_keeps_every_bit(saved) -> None:
    certificate, path = saved
    again = jb.load(path)
    for a, b in zip(
        jax.tree.leaves(certificate.kernel), jax.tree.leaves(again.kernel), strict=True
    ):
        assert a.tobytes() == b.tobytes()
    assert again.errors == certificate.errors
    assert again.claim == certificate.claim
    assert (again.source, again.target) == (certificate.source, certificate.target)
    assert jb.verify(path)
    assert jb.verify(again)


def test_a_users_function_is_stored_with_its_certificate(tmp_path) -> None:
    mine = jb.activation(lambda z: jnp.tanh(z) / (1 + z * z), name="mine")
    _, certificate = jb.certified_kernel(mine, "repu2", tol=1e-2)
    jb.save(certificate, tmp_path / "c.json")
    again = jb.load(tmp_path / "c.json")
    assert again.source.program == mine.program
    assert jb.verify(tmp_path / "c.json")
    assert again.source(jnp.float32(0.5)) == pytest.approx(float(mine(jnp.float32(0.5))), rel=1e-6)


def numbers(data, path=()):
    """Every number of a certificate file, as the path to it."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key not in ("digest", "version", "claim"):
                yield from numbers(value, (*path, key))
    elif isinstance(data, list):
        for position, value in enumerate(data):
            yield from numbers(value, (*path, position))
    elif isinstance(data, str) and data.startswith(("0x", "-0x")):
        yield path


def test_any_changed_number_is_noticed(saved) -> None:
    _, path = saved
    original = path.read_text()
    places = list(numbers(json.loads(original)))
    assert len(places) > 20
    for place in places:
        data = json.loads(original)
        parent = data
        for key in place[:-1]:
            parent = parent[key]
        parent[place[-1]] = (float.fromhex(parent[place[-1]]) + 2.0**-40).hex()
        path.write_text(json.dumps(data))
        verdict = jb.verify(path)
        assert not verdict
        assert "digest" in verdict.reason


@pytest.mark.parametrize("part", ["weights", "directions", "offsets"])
def test_the_mathematics_alone_notices_a_changed_kernel(saved, part: str) -> None:
    _, path = saved
    original = path.read_text()
    count = len(json.loads(original)["kernel"][part])
    for position in range(count):
        path.write_text(original)

        def change(data, position=position):
            old = float.fromhex(data["kernel"][part][position])
            data["kernel"][part][position] = (old + 1e-3).hex()

        rewrite(path, change)
        verdict = jb.verify(path)
        assert not verdict
        assert "error of derivative" in verdict.reason


def test_the_mathematics_alone_notices_a_changed_claim(saved) -> None:
    _, path = saved
    original = path.read_text()
    changes = [
        lambda d: d["errors"][0].update(upper=shift(d["errors"][0]["lower"], 0.99)),
        lambda d: d["errors"][1].update(upper=shift(d["errors"][1]["lower"], 0.99)),
        lambda d: d["errors"][0].update(lower=shift(d["errors"][0]["upper"], 1.01)),
        lambda d: d["source"].update(name="erf"),
        lambda d: d["target"].update(name="repu(3)"),
        lambda d: d.update(level="sampled"),
        lambda d: d["errors"].reverse(),
        lambda d: d["errors"].append({**d["errors"][1], "derivative": 2}),
    ]
    for change in changes:
        path.write_text(original)
        rewrite(path, change)
        assert not jb.verify(path)


def test_a_weaker_claim_is_still_true(saved) -> None:
    certificate, path = saved
    rewrite(path, lambda d: d["errors"][0].update(upper=shift(d["errors"][0]["upper"], 2.0)))
    verdict = jb.verify(path)  # the sentence still names the old bound
    assert not verdict
    assert verdict.reason.endswith("in: claim")
    first, *others = certificate.errors
    weaker = replace(certificate, errors=(replace(first, upper=2 * first.upper), *others))
    jb.save(weaker, path)
    assert jb.verify(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"3", b'"text"', b"\xff\xfe\x00", b'{"format": "other"}',
     b"[" * 100_000],
)  # fmt: skip
def test_files_that_are_no_certificates(tmp_path, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    for read in (jb.load, jb.verify):
        with pytest.raises(CertificateFileError, match="expected"):
            read(path)


def test_truncated_later_and_broken_certificates(saved, tmp_path) -> None:
    _, path = saved
    original = path.read_text()
    for cut in range(0, len(original) - 2, 97):
        path.write_text(original[:cut])
        with pytest.raises(CertificateFileError):
            jb.load(path)
    for change in [
        lambda d: d.update(version=VERSION + 1),
        lambda d: d.update(version="1"),
        lambda d: d.pop("kernel"),
        lambda d: d.update(errors=[]),
        lambda d: d["kernel"].update(weights=["0x1p0"]),
        lambda d: d["kernel"]["weights"].__setitem__(0, "nan"),
        lambda d: d["source"].update(name="gleu"),
        lambda d: d.update(reach="-0x1p0"),
        lambda d: d.update(source={"name": "x", "program": {"operations": [["os"]]}}),
        lambda d: d.update(source={"name": "tanh", "program": {"operations": [], "output": "r0"}}),
        lambda d: d.update(
            source={"name": "x", "program": {"operations": [["add", "r5", "r0"]], "output": "r1"}}
        ),
    ]:
        path.write_text(original)
        rewrite(path, change)
        with pytest.raises(CertificateFileError):
            jb.verify(path)
    with pytest.raises(CertificateFileError, match="cannot be read"):
        jb.load(tmp_path / "missing.json")
    assert json.loads(original)["format"] == FORMAT


def test_nothing_is_left_half_written(saved, tmp_path, monkeypatch) -> None:
    certificate, path = saved
    before = path.read_bytes()

    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        jb.save(certificate, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


# -------------------------------------------------------------------- bad input


@pytest.mark.parametrize("tol", [0.0, -1e-3, math.nan, math.inf, 1e-300])
def test_tolerances_that_cannot_be(tol: float) -> None:
    with pytest.raises(ToleranceError, match="expected"):
        jb.certified_kernel("gelu", "relu", tol=tol)


def test_other_bad_input() -> None:
    with pytest.raises(UnknownActivationError, match="gelu"):
        jb.certified_kernel("gleu", "relu", tol=1e-3)
    with pytest.raises(UsageError, match="one"):
        jb.certified_kernel("gelu", "relu", tol=1e-3, particles=5)
    with pytest.raises(UsageError, match="tol"):
        jb.certified_kernel("gelu", "relu")
    with pytest.raises(UsageError, match="at least 1"):
        jb.certified_kernel("gelu", "relu", particles=0)
    for reach in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(DomainError, match="reach"):
            jb.certified_kernel("sin", "relu", tol=1e-2, reach=reach)
    for source, target in [("relu", "tanh"), ("gelu", "sin"), ("gelu", "heaviside")]:
        with pytest.raises(UnreachableTargetError, match="expected"):
            jb.certified_kernel(source, target, tol=1e-2)
    for source in ("sin", "repu2"):
        with pytest.raises(UnreachableTargetError, match="reach"):
            jb.certified_kernel(source, "relu", tol=1e-2)
    with pytest.raises(UnreachableTargetError, match="expected"):
        jb.certified_kernel("heaviside", "relu", tol=1e-2)
    pole = jb.activation(lambda z: 1 / (z - 0.3), name="pole")
    with pytest.raises(UnreachableTargetError, match="pole"):
        jb.certified_kernel(pole, "relu", particles=8, reach=2.0)
    with pytest.raises(ShapeError, match="kernel"):
        jb.kernel_certificate(jb.ParticleMeasure(np.ones((1, 2)), np.ones((1, 1)), np.ones(1)),
                              "gelu", "relu")  # fmt: skip


def test_results_are_cached_and_cannot_be_changed() -> None:
    first, _ = jb.certified_kernel("gelu", "relu", tol=1e-2)
    second, _ = jb.certified_kernel("gelu", "relu", tol=1e-2)
    assert first is second
    with pytest.raises(ValueError, match="read-only"):
        first.weights[0] = 0.0


def test_within_a_trace() -> None:
    @jax.jit
    def f(x):
        kernel, _ = jb.certified_kernel("mish", "relu", tol=2e-2)
        return jb.kernel_as_activation(kernel, "relu")(x)

    assert float(abs(f(jnp.float32(0.3)) - jax.nn.mish(jnp.float32(0.3)))) < 2e-2


def test_the_reach_is_said_exactly() -> None:
    _, cubic = jb.certified_kernel("gelu", jb.repu(3), tol=1e-2)
    assert cubic.where_it_holds == "|z| <= 2^20"
    _, near = jb.certified_kernel("sin", "relu", tol=0.3, reach=1.2345678)
    assert near.where_it_holds.startswith("|z| <= 1.2345678")
