"""Pictures of kernels, and files written whole."""

import numpy as np
import pytest

from jaxbarron.certify import certified_kernel
from jaxbarron.errors import ShapeError, UsageError
from jaxbarron.export import load_measure, save_measure
from jaxbarron.measures import ParticleMeasure
from jaxbarron.plots import knots_of, plot_certificate


@pytest.mark.parametrize(
    ("suffix", "head"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")]
)
def test_each_format_is_what_it_says(tmp_path, suffix, head):
    _, certificate = certified_kernel("gelu", "relu", tol=1e-2)
    file = tmp_path / f"kernel{suffix}"
    plot_certificate(certificate, file)
    assert file.read_bytes().startswith(head)
    assert list(tmp_path.iterdir()) == [file]


def test_direct_exact_and_reached_kernels_can_be_drawn(tmp_path):
    for source, target, options in (
        ("gelu", "gelu_tanh", {"direct": True}),
        ("abs", "relu", {}),
        ("sin", "relu", {"tol": 1e-1, "reach": 4.0}),
    ):
        _, certificate = certified_kernel(source, target, **options)
        plot_certificate(certificate, tmp_path / f"{source}.png")
    assert len(list(tmp_path.iterdir())) == 3


def test_other_suffixes_are_refused(tmp_path):
    _, certificate = certified_kernel("gelu", "gelu_tanh", direct=True)
    with pytest.raises(UsageError, match="svg"):
        plot_certificate(certificate, tmp_path / "kernel.jpeg")
    assert list(tmp_path.iterdir()) == []


def test_knots_are_distinct_and_constants_have_none():
    directions, offsets = np.array([[2.0], [-1.0], [0.0], [1.0]]), np.array([4.0, -2.0, 1.0, -3.0])
    kernel = ParticleMeasure(np.ones((4, 1)), directions, offsets)
    assert knots_of(kernel).tolist() == [-2.0, 3.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_measures_come_back_bit_by_bit(tmp_path, dtype):
    random = np.random.default_rng(0)
    mu = ParticleMeasure(*(random.normal(size=s).astype(dtype) for s in ((5, 2), (5, 3), (5,))))
    save_measure(mu, tmp_path / "mu.safetensors", {"of": "a test"})
    back = load_measure(tmp_path / "mu.safetensors")
    for name in ("weights", "directions", "offsets"):
        assert getattr(back, name).dtype == dtype
        np.testing.assert_array_equal(getattr(back, name), getattr(mu, name))


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 64])
def test_what_holds_no_measure_is_refused(tmp_path, content):
    file = tmp_path / "bad.safetensors"
    file.write_bytes(content)
    with pytest.raises(ShapeError, match="safetensors"):
        load_measure(file)
    with pytest.raises(OSError, match="none"):
        load_measure(tmp_path / "none.safetensors")
