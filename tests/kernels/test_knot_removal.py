"""Knot removal: the closed form against least squares over every particle that could go."""

import itertools

import numpy as np
import pytest

import jaxbarron as jb
from jaxbarron.errors import ShapeError, UsageError
from jaxbarron.kernels import knot_removal

Z = np.random.default_rng(0).normal(size=2000)


def columns(kernel, s, z):
    arrays = (kernel.directions[:, 0], kernel.offsets)
    return np.stack([np.maximum(a * z + b, 0) ** s for a, b in zip(*arrays, strict=True)], 1)


def by_least_squares(kernel, s, z, kept):
    """The root mean square that least squares leaves without the other particles."""
    design = columns(kernel, s, z)
    old = design @ kernel.weights[:, 0]
    new = design[:, kept] @ np.linalg.lstsq(design[:, kept], old, rcond=None)[0]
    return np.sqrt(np.mean((new - old) ** 2))


@pytest.mark.parametrize("s", [1, 2])
@pytest.mark.parametrize("source", ["gelu", "tanh"])
def test_the_first_removal_is_the_best_of_all(source, s):
    kernel = jb.spline_kernel(source, s, particles=12)
    count = kernel.particles
    found = jb.remove_particles(kernel, jb.repu(s), Z, count - 1)
    others = [[j for j in range(count) if j != k] for k in range(count)]
    losses = [by_least_squares(kernel, s, Z, kept) for kept in others]
    assert found.change == pytest.approx(min(losses), rel=1e-3, abs=1e-9)
    assert by_least_squares(kernel, s, Z, found.kept) == pytest.approx(found.change, rel=1e-3)
    assert found.change <= found.bound * (1 + 1e-6) + 1e-12
    assert found.bound == pytest.approx(found.change, rel=1e-2, abs=1e-7)


def test_many_removals_end_at_the_projection():
    kernel = jb.spline_kernel("gelu", 1, particles=16)
    for particles in (10, 5, 2, 1):
        found = jb.remove_particles(kernel, "relu", Z, particles)
        assert found.kernel.particles == particles == len(found.kept)
        best = by_least_squares(kernel, 1, Z, found.kept)
        assert found.change == pytest.approx(best, rel=1e-6)
        assert found.change <= found.bound * (1 + 1e-6) + 1e-12
        new = columns(found.kernel, 1, Z) @ found.kernel.weights[:, 0]
        old = columns(kernel, 1, Z) @ kernel.weights[:, 0]
        assert np.sqrt(np.mean((new - old) ** 2)) == pytest.approx(found.change, rel=1e-9)
    # one after the other or all at once: the same projection
    half = jb.remove_particles(kernel, "relu", Z, 8)
    rest = jb.remove_particles(half.kernel, "relu", Z, 4)
    assert set(half.kept[rest.kept]) == set(jb.remove_particles(kernel, "relu", Z, 4).kept)


def test_greedy_is_near_the_best_subset():
    kernel = jb.spline_kernel("silu", 1, particles=9)
    found = jb.remove_particles(kernel, "relu", Z, 4)
    subsets = itertools.combinations(range(kernel.particles), 4)
    best = min(by_least_squares(kernel, 1, Z, list(kept)) for kept in subsets)
    assert best <= found.change * (1 + 1e-9)
    assert found.change <= 2 * best


def test_what_the_data_does_not_see_goes_first():
    kernel = jb.ParticleMeasure(np.ones((3, 1)), np.ones((3, 1)), np.array([0.0, -50.0, 1.0]))
    found = jb.remove_particles(kernel, "relu", Z, 2)
    assert found.kept.tolist() == [0, 2]
    assert found.change == 0.0
    twice = jb.ParticleMeasure(np.ones((3, 1)), np.ones((3, 1)), np.array([0.0, 0.0, 1.0]))
    found = jb.remove_particles(twice, "relu", Z, 2)
    assert found.change < 1e-9
    assert sorted(found.kernel.weights[:, 0]) == pytest.approx([1.0, 2.0], rel=1e-6)
    # a particle outside of the data that stays keeps its weight
    found = jb.remove_particles(kernel, "relu", Z, 3)
    np.testing.assert_array_equal(found.kernel.weights, kernel.weights)


def test_a_wrong_choice_would_be_seen(monkeypatch):
    """Planted: the particle of least weight goes, as magnitude pruning would have it."""
    kernel = jb.spline_kernel("gelu", 1, particles=12)

    def by_magnitude(design, weights, particles):
        return np.sort(np.argsort(np.abs(weights))[-particles:]), 0.0

    right = jb.remove_particles(kernel, "relu", Z, 4).change
    monkeypatch.setattr(knot_removal, "_eliminated", by_magnitude)
    assert jb.remove_particles(kernel, "relu", Z, 4).change > 1.5 * right


def test_bad_input():
    kernel = jb.spline_kernel("gelu", 1, particles=8)
    with pytest.raises(UsageError, match="from 1 to 8"):
        jb.remove_particles(kernel, "relu", Z, 9)
    with pytest.raises(ShapeError, match="ravel"):
        jb.remove_particles(kernel, "relu", Z[None], 4)
