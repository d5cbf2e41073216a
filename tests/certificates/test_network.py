"""Certificates of whole networks: saved, loaded, derived again, and caught where they lie."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import jaxbarron as jb
from jaxbarron.certificates.files import digest
from jaxbarron.certificates.network import NetworkCertificate
from jaxbarron.errors import CertificateFileError, ShapeError
from jaxbarron.switching.network_certificates import points_of

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(size=(6, 9)) / 2, RNG.normal(size=(9, 3)) / 3
X = jnp.asarray(RNG.normal(size=6), jnp.float32)


def model(params: Any, x: Any) -> Any:
    y = jax.nn.gelu(x @ params[0], approximate=False)
    y = y - y.mean()
    return jax.nn.softmax(jnp.exp(y / 4) * jnp.roll(y, 1) @ params[1])


PARAMS = (jnp.asarray(FIRST, jnp.float32), jnp.asarray(SECOND, jnp.float32))


@pytest.fixture(scope="module")
def certificate() -> NetworkCertificate:
    return jb.end_to_end_certificate(
        model, {"gelu": "relu"}, PARAMS, X, ball=jb.Ball(0.1), argument=1, classes=True,
        key=jax.random.key(0), tol=1e-2,
    )  # fmt: skip


@pytest.fixture
def path(certificate: NetworkCertificate, tmp_path: Path) -> Path:
    jb.save(certificate, tmp_path / "network.json")
    return tmp_path / "network.json"


def test_what_is_claimed(certificate: NetworkCertificate) -> None:
    assert certificate.level == "rigorous"
    assert 0 < certificate.lower <= certificate.upper
    assert certificate.bound.classes is not None
    assert "1 sites" in certificate.claim
    assert "l2 ball of radius 0.1" in certificate.claim
    plain = jb.end_to_end_bound(
        model, {"gelu": "relu"}, PARAMS, X, ball=jb.Ball(0.1), argument=1, tol=1e-2
    )
    assert plain.largest <= certificate.upper <= plain.largest * (1 + 1e-8)


def test_the_sentence_rounds_outwards(certificate: NetworkCertificate) -> None:
    for number in (certificate.upper, certificate.bound.classes.largest_delta):  # pyright: ignore
        near = re.findall(r"\d\.\d+(?:e-\d+)?", certificate.claim)
        said = min(map(float, near), key=lambda x: abs(x - number))
        assert number <= said <= number * (1 + 1e-5)
    size = np.full(2, 0.12345641)
    bound = dataclasses.replace(certificate.bound, lower=(-size,), upper=(size,))
    assert "0.123457" in dataclasses.replace(certificate, bound=bound).claim


def test_the_file_is_the_certificate(certificate: NetworkCertificate, path: Path) -> None:
    read = jb.load(path)
    assert isinstance(read, NetworkCertificate)
    assert read.claim == certificate.claim
    assert read.region == certificate.region
    assert read.observed == certificate.observed
    for mine, theirs in zip(read.bound.lower, certificate.bound.lower, strict=True):
        assert np.array_equal(mine, theirs)
    assert jb.verify(path)
    assert sorted(x.suffix for x in path.parent.iterdir()) == [".json", ".safetensors"]


def test_which_model_it_is_about(path: Path) -> None:
    read = jb.load(path)
    assert isinstance(read, NetworkCertificate)
    assert jb.verify_model(read, model, PARAMS, X, argument=1)
    other = (PARAMS[0].at[0, 0].add(1e-6), PARAMS[1])
    found = jb.verify_model(read, model, other, X, argument=1)
    assert not found
    assert "another function" in found.reason
    assert not jb.verify_model(read, lambda p, x: 2 * model(p, x), PARAMS, X, argument=1)


def rewritten(path: Path, change: Any) -> Path:
    """The file with its content changed and all digests made right again."""
    data = json.loads(path.read_text())
    file = path.parent / data["arrays"]["file"]
    arrays = {k: v.copy() for k, v in safetensors.numpy.load_file(file).items()}
    change(data, arrays)
    content = safetensors.numpy.save(arrays)
    file.write_bytes(content)
    import hashlib

    data["arrays"]["digest"] = hashlib.sha256(content).hexdigest()
    data["digest"] = digest(data)
    path.write_text(json.dumps(data))
    return path


def smaller_bound(data: Any, arrays: Any) -> None:
    arrays["upper.0"] *= 0.99


def smaller_margin(data: Any, arrays: Any) -> None:
    arrays["classes.delta"] *= 0.99


def excluded_class(data: Any, arrays: Any) -> None:
    arrays["classes.possible"][:] = False


def smaller_difference(data: Any, arrays: Any) -> None:
    arrays["classes.change"] *= 0.5


def smaller_part(data: Any, arrays: Any) -> None:
    data["by_site"][0][1] = (float.fromhex(data["by_site"][0][1]) / 2).hex()


def no_part(data: Any, arrays: Any) -> None:
    data["by_site"] = []


def other_theorem(data: Any, arrays: Any) -> None:
    data["theorem"] = "Theorem Margin transfer"


def larger_region(data: Any, arrays: Any) -> None:
    data["region"]["radius"] = (0.11).hex()


def other_kernel(data: Any, arrays: Any) -> None:
    kernel = next(x["kernel"] for x in data["network"]["pairs"] if x["kernel"] is not None)
    kernel["weights"][0] = (float.fromhex(kernel["weights"][0]) * 1.5).hex()


@pytest.mark.parametrize(
    "lie",
    [
        smaller_bound, smaller_margin, excluded_class, smaller_difference, smaller_part,
        no_part, other_theorem, larger_region, other_kernel,
    ],
)  # fmt: skip
def test_a_lie_is_caught(path: Path, lie: Any) -> None:
    found = jb.verify(rewritten(path, lie))
    assert not found
    assert found.reason


def wrong_place(data: Any, arrays: Any) -> None:
    data["network"]["nodes"][1]["terms"][0][0] = 7


def wrong_size(data: Any, arrays: Any) -> None:
    data["network"]["nodes"][1]["size"] += 1


def wrong_order(data: Any, arrays: Any) -> None:
    key = next(k for k, x in arrays.items() if x.dtype == np.float64 and x.ndim == 3)
    arrays[key] = arrays[key][:, :-1]


def no_array(data: Any, arrays: Any) -> None:
    arrays.pop("lower.0")


def unreplaced_site(data: Any, arrays: Any) -> None:
    next(x for x in data["network"]["nodes"] if x["kind"] == "elementwise")["site"] = None


@pytest.mark.parametrize("fault", [wrong_place, wrong_size, wrong_order, no_array, unreplaced_site])
def test_what_is_no_network_is_refused(path: Path, fault: Any) -> None:
    with pytest.raises(CertificateFileError, match="cannot be read"):
        jb.verify(rewritten(path, fault))


def test_arrays_are_bound_to_their_file(path: Path) -> None:
    file = next(path.parent.glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    assert "arrays were changed" in jb.verify(path).reason
    file.unlink()
    with pytest.raises(CertificateFileError, match="cannot be read"):
        jb.load(path)
    data = json.loads(path.read_text())
    data["arrays"]["file"] = "../" + file.name
    data["digest"] = digest(data)
    path.write_text(json.dumps(data))
    with pytest.raises(CertificateFileError, match="beside it"):
        jb.verify(path)


def test_where_the_proof_ends_data_speak() -> None:
    def fn(x: Any) -> Any:
        y = jnp.tanh(x)
        return jnp.sort(y), y

    samples = X + jnp.linspace(-0.1, 0.1, 7)[:, None]
    box = jb.Box(np.asarray(X, float) - 0.1, np.asarray(X, float) + 0.1)
    found = jb.end_to_end_certificate(fn, {"tanh": "relu"}, X, box=box, tol=1e-2, samples=samples)
    assert found.level == "sampled"
    assert "sort" in found.claim
    assert "7 inputs were observed" in found.claim
    assert found.observed is not None
    assert 0 < found.observed.largest[0] == pytest.approx(found.observed.largest[1])
    assert not jb.verify(found)
    lied = dataclasses.replace(found, bound=dataclasses.replace(found.bound, level="rigorous"))
    assert not jb.verify(lied)
    with pytest.raises(ShapeError, match="one more axis"):
        jb.end_to_end_certificate(fn, {"tanh": "relu"}, X, box=box, tol=1e-2, samples=X)


@pytest.mark.parametrize("norm", [1, 2, np.inf])
def test_random_points_lie_in_their_region(norm: float) -> None:
    from jaxbarron.bounds.networks.regions import Around

    region = Around((1.0, -2.0, 0.5), jb.Ball(0.5, ord=norm))
    points = np.asarray(points_of(region, jax.random.key(0), 2000), float)
    away = np.linalg.norm(points - np.array(region.centre), ord=norm, axis=1)
    assert 0.45 < away.max() <= 0.5 + 1e-6
    assert abs(points.mean(0) - region.centre).max() < 0.05
