"""Certificates of embeddings and of constants: true ones verify, changed ones do not."""

from __future__ import annotations

import dataclasses
import json
import math

import jax.numpy as jnp
import pytest

import jaxbarron as jb
from jaxbarron.certificates.files import digest

PAIRS = [("tanh", "relu"), ("gelu", "repu(2)"), ("tanh", "sigmoid"), ("silu", "leaky_relu"),
         ("repu(3)", "relu"), ("relu", "selu"), ("softplus", "elu"),
         ("gaussian", "sin")]  # fmt: skip


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_saved_embeddings_verify(source, target, tmp_path):
    certificate = jb.embedding(source, target).certificate
    path = tmp_path / "embedding.json"
    jb.save(certificate, path)
    found = jb.verify(path)
    assert found, found.reason
    assert jb.load(path) == certificate
    assert certificate.level == "rigorous"
    assert 0 < certificate.lower <= certificate.upper < math.inf


def numbers(data, path=()):
    """The places of all numbers of a JSON object, written as hexadecimal floats or as integers."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key not in ("digest", "version"):
                yield from numbers(value, (*path, key))
    elif isinstance(data, list):
        for key, value in enumerate(data):
            yield from numbers(value, (*path, key))
    elif type(data) is int or str(data).startswith(("0x", "-0x")) or data == "inf":
        yield path


def changed(document, path, change):
    copy = json.loads(json.dumps(document))
    *way, last = path
    place = copy
    for key in way:
        place = place[key]
    place[last] = change(place[last])
    copy["digest"] = digest(copy)
    return copy


def larger(value):
    if isinstance(value, int):
        return value + 1
    return float.hex(float.fromhex(value) * 1.01 + 0.01)


def smaller(value):
    if isinstance(value, int):
        return value - 1
    return float.hex(float.fromhex(value) * 0.99 - 0.01)


def still_true(claim) -> bool:
    """Whether a claim is no stronger than what the atlas derives for its pair and order."""
    known = jb.embedding(claim.source, claim.target, order=claim.order)
    return claim.lower <= known.lower and known.upper <= claim.upper


@pytest.mark.parametrize(("source", "target"), PAIRS[:6])
@pytest.mark.parametrize("change", [larger, smaller])
def test_a_changed_number_fails_or_leaves_a_true_claim(source, target, change, tmp_path):
    path = tmp_path / "embedding.json"
    certificate = jb.embedding(source, target).certificate
    jb.save(certificate, path)
    document = json.loads(path.read_text())
    places = list(numbers(document))
    assert len(places) >= 4
    failures = 0
    for place in places:
        path.write_text(json.dumps(changed(document, place, change)))
        try:
            found = jb.verify(path)
        except jb.JaxbarronError:
            failures += 1
            continue
        failures += not found
        assert not found or still_true(jb.load(path)), place
    assert failures


def test_the_digest_notices_any_change(tmp_path):
    path = tmp_path / "embedding.json"
    jb.save(jb.embedding("tanh", "relu").certificate, path)
    path.write_text(path.read_text().replace("tanh", "mish"))
    assert not jb.verify(path)


def test_a_broken_path_is_named():
    certificate = jb.embedding("silu", "leaky_relu").certificate
    first, second = certificate.route
    wrong = dataclasses.replace(certificate, route=(second, first))
    assert "breaks" in jb.verify(wrong).reason
    tighter = dataclasses.replace(first, upper=first.upper * 0.9)
    wrong = dataclasses.replace(certificate, route=(tighter, second))
    assert "proved" in jb.verify(wrong).reason


def test_a_lower_bound_of_another_pair_is_refused():
    certificate = jb.embedding("tanh", "relu").certificate
    other = jb.embedding("silu", "relu").certificate
    wrong = dataclasses.replace(certificate, bound=other.bound)
    assert "another pair" in jb.verify(wrong).reason


@pytest.mark.parametrize(
    ("source", "s", "arguments"),
    [
        ("tanh", 1, {}),
        ("gelu", 3, {}),
        ("softsign", 2, {}),
        ("sin", 1, {"reach": 4.0}),
        ("silu", 2, {"kind": "variation"}),
    ],
)
def test_constants_are_certified(source, s, arguments, tmp_path):
    certificate = jb.constant_certificate(source, s, **arguments)
    path = tmp_path / "constant.json"
    jb.save(certificate, path)
    assert jb.verify(path)
    assert jb.load(path) == certificate
    document = json.loads(path.read_text())
    places = list(numbers(document))
    assert ("lower",) in places
    for place in places:
        for change in (larger, smaller):
            path.write_text(json.dumps(changed(document, place, change)))
            try:
                found = jb.verify(path)
            except jb.JaxbarronError:
                continue
            after = jb.load(path)
            weaker = after.lower <= certificate.lower and certificate.upper <= after.upper
            assert not found or (after.s == s and weaker), place


def test_an_infinite_constant_is_a_claim_too(tmp_path):
    certificate = jb.constant_certificate("relu", 2)
    assert certificate.claim == "T_2(relu) is infinite"
    jb.save(certificate, tmp_path / "infinite.json")
    assert jb.verify(tmp_path / "infinite.json")


def test_functions_of_ones_own_are_certified(tmp_path):
    def wobble(z):
        return jnp.tanh(z) * jnp.exp(-z * z) + jnp.arctan(0.5 * z)

    certificate = jb.embedding(wobble, "relu").certificate
    jb.save(certificate, tmp_path / "own.json")
    found = jb.verify(tmp_path / "own.json")
    assert found, found.reason
    constant = jb.constant_certificate(wobble, 1)
    jb.save(constant, tmp_path / "constant.json")
    assert jb.verify(tmp_path / "constant.json")


def test_arguments_that_exclude_each_other():
    with pytest.raises(jb.JaxbarronError, match="without a reach"):
        jb.constant_certificate("tanh", 1, kind="variation", reach=2.0)
    with pytest.raises(jb.JaxbarronError, match="expected"):
        jb.constant_certificate("tanh", 1, kind="other")
