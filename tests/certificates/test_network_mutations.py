"""Every number of a saved network certificate changed, in the text and in the arrays beside it.

What is still accepted is judged by plain NumPy on the stored numbers: at random points of the
region, corners and all, no output changes by more than is claimed.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from scipy import special

import jaxbarron as jb
from jaxbarron.certificates.files import digest
from jaxbarron.errors import CertificateFileError

RNG = np.random.default_rng(0)
PARAMS = tuple(jnp.asarray(RNG.normal(size=n) / 2, jnp.float32) for n in ((2, 3), (3, 2)))
X = jnp.asarray([0.3, -0.2], jnp.float32)
SPHERE = RNG.normal(size=(2000, 2))
SPHERE /= np.linalg.norm(SPHERE, axis=1, keepdims=True)
DISC = np.concatenate([SPHERE, SPHERE * np.sqrt(RNG.uniform(size=(2000, 1)))])


def model(params, x):
    return jax.nn.gelu(x @ params[0], approximate=False) @ params[1]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    certificate = jb.end_to_end_certificate(
        model, {"gelu": "relu"}, PARAMS, X, ball=jb.Ball(0.1), argument=1, classes=True,
        key=jax.random.key(0), particles=3,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("network") / "network.json"
    jb.save(certificate, path)
    document = json.loads(path.read_text())
    return path, document, safetensors.numpy.load_file(path.parent / document["arrays"]["file"])


def written(path: Path, document, arrays) -> None:
    """Both files, with digests that fit."""
    document = copy.deepcopy(document)
    content = safetensors.numpy.save(arrays)
    (path.parent / document["arrays"]["file"]).write_bytes(content)
    document["arrays"]["digest"] = hashlib.sha256(content).hexdigest()
    document["digest"] = digest(document)
    path.write_text(json.dumps(document))


def verdict(path: Path, document, arrays) -> bool | None:
    written(path, document, arrays)
    try:
        return bool(jb.verify(path))
    except CertificateFileError:
        return None


def leaves(value, path=()):
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    elif isinstance(value, int | float | bool) or (
        isinstance(value, str) and value.lstrip("-").startswith("0x")
    ):
        yield path, value


def is_true(document, arrays) -> bool:
    """Whether the claim holds at the points, by the stored numbers alone."""
    first, second = (x["terms"][0][1]["weights"] for x in document["network"]["nodes"][1::2])
    biases = [x["bias"] for x in document["network"]["nodes"][1::2]]
    (site,) = document["network"]["pairs"]
    half, slope = (float.fromhex(site["source"]["operations"][k][j]) for k, j in ((0, 1), (2, 2)))
    c, a, b = (np.array([float.fromhex(x) for x in site["kernel"][part]])
               for part in ("weights", "directions", "offsets"))  # fmt: skip
    degree = site["kernel"]["degree"]
    radius = float.fromhex(document["region"]["radius"])
    where = arrays["region.centre"] + radius * DISC
    z = where @ arrays[first][0] + arrays[biases[0]]
    old = half * z * special.erfc(-z * slope)
    new = np.maximum(z[..., None] * a + b, 0) ** degree @ c
    before, after = (y @ arrays[second][0] + arrays[biases[1]] for y in (old, new))
    change, slack = after - before, 1e-12 * (1 + np.abs(before))
    gaps = change[:, :, None] - change[:, None, :]
    # a margin that was overturned: the class that led is behind, however it led before
    lead, later = before[:, 0] - before[:, 1], after[:, 0] - after[:, 1]
    turned = np.abs(lead[lead * later < 0])
    return bool(
        np.all(arrays["lower.0"] <= change + slack)
        and np.all(change - slack <= arrays["upper.0"])
        and np.all(np.abs(gaps).max(axis=0) <= arrays["classes.change"].max() + 1e-12)
        and np.max(turned, initial=0.0) <= np.max(arrays["classes.delta"]) + 1e-12
        and np.all(arrays["classes.possible"][np.unique(before.argmax(-1))])
        and float.fromhex(document["by_site"][0][1]) >= np.abs(change).max() - 1e-12
    )


def changed(value):
    if isinstance(value, bool):
        return [not value, None, 2, "1"]
    if isinstance(value, int):
        return [
            value + 1,
            value - 1,
            -value - 1,
            10**30,
            float(value),
            value + 0.5,
            None,
            "1",
            True,
        ]
    x = float.fromhex(value)
    numbers = [0.0, -0.0, math.inf, math.nan, math.nextafter(x, 9e9), math.nextafter(x, -9e9), -x,
               2 * x, x / 2, x * 1.01, x * 0.99, 1e300]  # fmt: skip
    return [*(y.hex() for y in numbers if y.hex() != value), "junk", None, 17, []]


def test_numbers_in_the_text(saved, tmp_path):
    path, document, arrays = tmp_path / saved[0].name, *saved[1:]
    assert verdict(path, document, arrays) is True
    assert is_true(document, arrays)
    assert not is_true(document, {**arrays, "upper.0": 0.9 * arrays["upper.0"]})
    accepted = refused = 0
    for place, value in leaves(document):
        for other in changed(value):
            lie = copy.deepcopy(document)
            inner = lie
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = other
            if verdict(path, lie, arrays):
                accepted += 1
                assert place[0] == "observed" or is_true(lie, arrays), (place, value, other)
            else:
                refused += 1
    assert refused > 4 * accepted


def test_numbers_in_the_arrays(saved, tmp_path):
    path, document, arrays = tmp_path / saved[0].name, *saved[1:]
    accepted = refused = 0
    for name, array in arrays.items():
        for place in np.ndindex(array.shape):
            x = array[place]
            if array.dtype == bool:
                others = [not x]
            else:
                others = [0.0, -x, 1.01 * x, 0.99 * x, np.nextafter(x, -9e9), math.nan, math.inf,
                          -math.inf]  # fmt: skip
            for other in others:
                lie = {k: v.copy() for k, v in arrays.items()}
                lie[name][place] = other
                if lie[name].tobytes() == array.tobytes():
                    continue
                if verdict(path, document, lie):
                    accepted += 1
                    assert is_true(document, lie), (name, place, x, other)
                else:
                    refused += 1
    assert refused > accepted


@pytest.mark.parametrize(
    ("part", "value"),
    [("points", 0), ("points", -3), ("largest", ["nan"]), ("largest", ["inf"]),
     ("largest", ["-0x1p+0"]), ("largest", []), ("largest", ["0x1p0", "0x1p0"])],
)  # fmt: skip
def test_what_cannot_have_been_observed_is_refused(saved, tmp_path, part, value):
    path, document, arrays = tmp_path / saved[0].name, *saved[1:]
    lie = copy.deepcopy(document)
    lie["observed"][part] = value
    assert not verdict(path, lie, arrays)
