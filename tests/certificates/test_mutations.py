"""Every number of a saved certificate changed, with a new digest: refused, or still true.

What is accepted is judged by oracles of its own: dense samples, a published constant, closed forms.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import jaxbarron as jb
from jaxbarron.bounds.sharp import sharp_constant
from jaxbarron.bounds.witnesses import find_witness
from jaxbarron.certificates import constant_certificate, load, save, to_document, verify
from jaxbarron.certificates.files import digest
from jaxbarron.cli import main
from jaxbarron.errors import CertificateFileError

Z = np.concatenate([np.linspace(-30, 30, 60_001), [-1e3, 1e3]])


def documents():
    kernel = jb.certified_kernel("gelu", "relu", particles=3)[1]
    pairs = [("sigmoid", "tanh"), ("arctan", "tanh"), ("tanh", "relu")]
    against = [("relu", "repu(2)"), ("relu", "tanh"), ("gelu", "tanh"), ("sin", "relu"),
               ("tanh", "identity"), ("repu(2)", "identity")]  # fmt: skip
    found = {
        "kernel": kernel,
        "constant": constant_certificate("tanh", 1),
        "constant on a reach": constant_certificate("sin", 1, reach=2.0),
        "variation": constant_certificate("tanh", 1, kind="variation"),
    }
    found["sharp"] = jb.sharp_certificate(sharp_constant("tanh", 1))
    found["l2"] = few_plans(jb.weight_certificate("hard_tanh", weight="l2"))
    found["l2 infinite"] = jb.weight_certificate("gaussian", weight="l2")
    found["bias-free"] = jb.weight_certificate("tanh", 2, weight="bias_free")
    found["interval"] = jb.interval_certificate("tanh", 2, spread=1.5, offset=0.25)
    mine = jb.activation(lambda z: z * jnp.tanh(jax.nn.softplus(2 * z)), name="mine")
    found["mine relu"] = jb.embedding(mine, "relu").certificate
    pairs += [("gelu", "squareplus"), ("repu(3)", "sigmoid")]
    for source, target in pairs + against:
        found[f"{source} {target}"] = jb.embedding(source, target).certificate
    return {name: to_document(certificate) for name, certificate in found.items()}


def few_plans(certificate):
    """The same without the plans that it holds without, so that there are fewer numbers."""
    for plan in certificate.evidence.plans:
        plans = tuple(p for p in certificate.evidence.plans if p != plan)
        evidence = dataclasses.replace(certificate.evidence, plans=plans)
        without = dataclasses.replace(certificate, evidence=evidence)
        certificate = without if verify(without) else certificate
    return certificate


DOCUMENTS = documents()


def leaves(value, path=()):
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def is_number(value):
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    if not isinstance(value, str):
        return True
    return value in ("inf", "-inf", "nan") or value.lstrip("-").startswith("0x")


def changed_numbers(value):
    if not isinstance(value, str):
        return [value + 1, value - 1, 10**30, 10**400, float(value), value + 0.5, None, "1", True]
    x = float.fromhex(value)
    near = [0.0, -0.0, math.inf, -math.inf, math.nan]
    if math.isfinite(x):
        near += [math.nextafter(x, math.inf), math.nextafter(x, -math.inf), -x, 2 * x, x / 2,
                 x * 1.01, x * 0.99, x + 1, 1e300]  # fmt: skip
    texts = [y.hex() for y in near if y.hex() != value]
    return [*texts, value + " ", "0x1p99999", "junk", None, 17, [], {}]


def put(document, path, value):
    changed = copy.deepcopy(document)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    changed["digest"] = digest(changed)
    return changed


def verdict(path, document):
    path.write_text(json.dumps(document))
    try:
        return bool(verify(path))
    except CertificateFileError:
        return None


# ------------------------------------------------------------------- what is still true


def kernel_is_true(found):
    c, a, b = (np.asarray(x).ravel() for x in
               (found.kernel.weights, found.kernel.directions, found.kernel.offsets))  # fmt: skip

    def error(z):
        kappa = np.maximum(z[:, None] * a + b, 0) @ c
        return np.abs(z * special.ndtr(z) - kappa)

    (bound,) = found.errors
    near = np.clip(bound.where, -1e3, 1e3) + np.linspace(-1e-3, 1e-3, 101)
    return (
        np.max(error(Z)) <= bound.upper * (1 + 1e-9)
        and bound.lower <= np.max(error(Z)) * (1 + 1e-5)
        and (bound.lower <= 0 or np.max(error(near)) >= 0.98 * bound.lower)
    )


# T_1(tanh) = 2 + the tails beyond 1: 1/s! int max(1, |t|) |tanh''| = 2.4768116880884702...
T_1_TANH = 2.47681168808847027
LOCAL_SIN = 2 * (2 * (1 - math.cos(2)) + math.sin(2) - 2 * math.cos(2))


# by hand: 2 (2^(1/2)) at w -> 1, |z + 1|/2 - |z - 1|/2; 8/(3 sqrt 3), 10/9
OTHER = {("hard_tanh", "l2", 1): 8**0.5, ("gaussian", "l2", 1): math.inf,
         ("tanh", "bias_free", 1): 2.0, ("tanh", "bias_free", 2): 8 / 27**0.5,
         ("tanh", "bias_free", 3): 10 / 9}  # fmt: skip


def in_other_weight_is_true(found):
    exact = OTHER[found.source.name, found.weight, found.s]
    return found.lower <= exact * (1 + 1e-15) and exact <= found.upper * (1 + 1e-15)


def is_true(name, document, found):
    if name == "kernel":
        return kernel_is_true(found)
    if name == "constant" or name == "variation":
        exact = T_1_TANH if name == "constant" else 2.0
        return found.lower <= exact * (1 + 1e-15) and exact <= found.upper * (1 + 1e-15)
    if name == "constant on a reach":
        return found.lower * (1 - 1e-14) <= LOCAL_SIN <= found.upper * (1 + 1e-14)
    if name == "sharp":
        if (found.s, found.order) == (1, 1):
            return found.lower <= 2.0 <= found.upper  # Theorem Closed constants
        own = sharp_constant(found.source, found.s, found.order)
        return own is None or (found.lower <= own.upper and own.lower <= found.upper)
    if document["kind"] == "weight":
        return in_other_weight_is_true(found)
    if document["kind"] == "interval-norm":
        own = jb.interval_norm(
            found.source, found.s, weight=found.weight, spread=found.spread, offset=found.offset
        )
        return found.lower <= own.upper and own.lower <= found.upper
    if document["kind"] == "embedding":
        own = jb.embedding(found.source, found.target, order=found.order)
        return own.upper * (1 - 1e-12) <= found.upper and found.lower <= own.lower
    # another order, or weaker numbers: the same theorem has to refute the pair
    own = find_witness(found.source, found.target, found.witness.order)
    return own is not None and own.theorem == found.theorem


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_changed_number_is_refused_or_the_claim_still_true(name, tmp_path):
    document, path = DOCUMENTS[name], tmp_path / "certificate.json"
    assert verdict(path, document) is True
    counts = {True: 0, False: 0, None: 0}
    for place, value in leaves(document):
        if place[0] == "digest" or not is_number(value):
            continue
        for other in changed_numbers(value):
            changed = put(document, place, other)
            result = verdict(path, changed)
            counts[result] += 1
            if result:
                found = load(path)
                assert is_true(name, document, found), (place, value, other)
    assert counts[False] + counts[None] > 4 * counts[True], counts


@pytest.mark.parametrize("name", DOCUMENTS)
def test_other_words_and_missing_fields_are_refused(name, tmp_path):
    document, path = DOCUMENTS[name], tmp_path / "certificate.json"
    for place, value in leaves(document):
        if place[0] == "digest":
            continue
        if isinstance(value, str) and not is_number(value):
            for other in (value + "x", None, 3, [], {}):
                assert not verdict(path, put(document, place, other)), (place, other)
        changed = put(document, place, value)
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        del inner[place[-1]]
        changed["digest"] = digest(changed)
        assert not verdict(path, changed), place
    more = {**document, "remark": "true"}
    more["digest"] = digest(more)
    assert verdict(path, more) is False


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (lambda text: text.encode("utf-16"), (0, 2)),
        (lambda text: b"\xef\xbb\xbf" + text.encode(), (0, 2)),
        (lambda text: text.replace('"upper"', '"upper": "0x0p+0", "upper"', 1).encode(), (0, 1, 2)),
        (lambda text: text.replace('"version": 1', '"version": 1e400').encode(), (2,)),
        (lambda text: text.replace('"version": 1', '"version": ' + "9" * 5000).encode(), (2,)),
        (lambda text: text.replace('"rigorous"', "NaN", 1).encode(), (1, 2)),
        (lambda text: (text + text).encode(), (2,)),
        (lambda text: b"", (2,)),
    ],
)
def test_the_command_says_one_thing(content, status, tmp_path, capsys, monkeypatch):
    path = tmp_path / "certificate.json"
    save(constant_certificate("tanh", 1), path)
    path.write_bytes(content(path.read_text()))
    monkeypatch.setattr(sys, "argv", ["jaxbarron", "verify", str(path)])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr()
    assert (left.value.code or 0) in status
    assert "Traceback" not in said.out + said.err
    assert len((said.out + said.err).strip().splitlines()) == 1
