"""Regions cut in parts: attacked part by part; what covers less than the region is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_networks import dense

import jaxbarron as jb
from jaxbarron.bounds.networks import branching
from jaxbarron.bounds.networks.bound import network_difference
from jaxbarron.bounds.networks.branching import branched_difference, rebranched_difference
from jaxbarron.bounds.networks.leaves import Branches, boxes_of, misses
from jaxbarron.bounds.networks.regions import Around
from jaxbarron.certificates import NetworkCertificate
from jaxbarron.domains import Ball, Box
from jaxbarron.errors import UsageError
from jaxbarron.switching import switch
from jaxbarron.switching.network_certificates import points_of
from jaxbarron.switching.networks import network_with_rules
from jaxbarron.switching.rules import Demand

RNG = np.random.default_rng(23)


@pytest.fixture(autouse=True)
def doubles(x64):
    """Attacks are computed in double precision."""


def small(sizes: Any = (3, 12, 12, 2), seed: int = 1, particles: int = 6) -> tuple[Any, ...]:
    old, x = dense(sizes, jnp.tanh, seed), np.random.default_rng(seed).normal(size=sizes[0])
    rules = {"tanh": "relu"}
    network, _ = network_with_rules(old, rules, (x,), 0, Demand(None, particles, None, False))
    new = switch(old, rules, particles=particles)
    return network, x, jax.jit(jax.vmap(lambda x: new(x) - old(x)))


def attacked(change: Any, points: Any, lower: Any, upper: Any) -> tuple[Any, Any]:
    """The least and the largest changes along projected ascent, of the first output up and down."""
    sign = jnp.where(jnp.arange(len(points)) % 2 == 0, 1.0, -1.0)
    slope = jax.jit(jax.grad(lambda x: jnp.sum(sign * change(x)[:, 0])))
    found: list[Any] = []
    for step in range(6):
        found.append(np.asarray(change(points)))
        far = (upper - lower) * 0.3 * (1 - step / 6)
        points = np.clip(points + far * np.sign(slope(points)), lower, upper)
    values = np.concatenate(found)
    return values.min(axis=0), values.max(axis=0)


@pytest.mark.parametrize("joint", [0, 12])
def test_parts_cover_the_box_and_their_bounds_hold(joint: int):
    network, x, change = small()
    box = Box(x - 0.4, x + 0.4)
    seen: list[tuple[int, int]] = []
    whole = branched_difference(network, box, 1, joint=joint)
    assert whole.branches is None
    found = branched_difference(
        network, box, 7, joint=joint, progress=lambda done, of: seen.append((done, of))
    )
    assert seen == [(k, 7) for k in range(2, 8)]
    assert found.largest < 0.8 * whole.largest
    assert found.branches is not None
    parts = boxes_of(box, found.branches)
    volume = sum(np.prod(upper - lower) for lower, upper in parts)
    assert abs(volume - 0.8**3) < 1e-12
    points = RNG.uniform(x - 0.4, x + 0.4, size=(500, 3))
    inside = np.array([np.all((lo <= points) & (points <= hi), axis=1) for lo, hi in parts])
    assert inside.any(axis=0).all()
    for (lower, upper), given in zip(parts, found.branches.parabolas, strict=True):
        bound = network_difference(network, Box(lower, upper), parabolas=given)
        least, most = attacked(change, RNG.uniform(lower, upper, size=(20, 3)), lower, upper)
        assert np.all(bound.lower[0] <= least + 1e-13)
        assert np.all(most <= bound.upper[0] + 1e-13)
        assert np.all(found.lower[0] <= bound.lower[0])
        assert np.all(bound.upper[0] <= found.upper[0])
    again = rebranched_difference(network, box, found.branches, parabolas=found.parabolas)
    assert np.array_equal(again.upper[0], found.upper[0])


@pytest.mark.parametrize("ord", [1, 2, np.inf])
def test_balls_are_enclosed(ord: float):
    network, x, change = small((2, 9, 9, 1), 3)
    region = Around(tuple(x.tolist()), Ball(0.6, ord=ord))
    whole = branched_difference(network, region, 1)
    found = branched_difference(network, region, 24)
    assert found.largest < whole.largest
    assert found.branches is not None
    points = np.asarray(points_of(region, jax.random.key(0), 3000))
    rim = points - x
    rim = x + rim * (0.6 / np.linalg.norm(rim, ord=ord, axis=1, keepdims=True))
    values = np.asarray(change(np.concatenate([points, rim])))
    assert np.all(found.lower[0] <= values.min(axis=0))
    assert np.all(values.max(axis=0) <= found.upper[0])
    dropped = [ends for ends in boxes_of(region, found.branches) if misses(region, *ends)]
    for lower, upper in dropped:
        away = np.linalg.norm(RNG.uniform(lower, upper, size=(200, 2)) - x, ord=ord, axis=1)
        assert away.min() > 0.6


def test_classes_of_all_parts_together():
    network, x, _ = small((2, 16, 16, 3), 4, 4)
    box = Box(x - 0.5, x + 0.5)
    whole = branched_difference(network, box, 1, classes=True)
    found = branched_difference(network, box, 24, classes=True)
    assert whole.classes is not None
    assert found.classes is not None
    assert found.classes.largest_delta < 0.7 * whole.classes.largest_delta
    old = dense((2, 16, 16, 3), jnp.tanh, 4)
    new = switch(old, {"tanh": "relu"}, particles=4)
    points = RNG.uniform(x - 0.5, x + 0.5, size=(4000, 2))
    before, after = (np.asarray(jax.vmap(f)(points)) for f in (old, new))
    top = np.sort(before, axis=1)
    lead = top[:, -1] - top[:, -2]
    moved = before.argmax(axis=1) != after.argmax(axis=1)
    assert np.max(lead[moved], initial=0.0) <= found.classes.largest_delta
    assert np.all(found.classes.possible[np.unique(before.argmax(axis=1))])


def test_what_covers_less_or_other_regions_is_refused():
    network, x, _ = small()
    box = Box(x - 0.1, x + 0.1)
    good = branched_difference(network, box, 4).branches
    assert good is not None
    outside = good.place.copy()
    outside[0] += 1.0
    for other in (
        {"place": outside},
        {"place": good.place * np.nan},
        {"place": good.place[1:]},
        {"place": good.place.astype(np.float32)},
        {"leaf": good.leaf + 5},
        {"leaf": good.leaf - 1},
        {"axis": good.axis + 3},
        {"axis": -good.axis - 1},
        {"parabolas": good.parabolas[1:]},
        {name: getattr(good, name)[1:] for name in ("leaf", "axis", "place")},
    ):
        with pytest.raises(ValueError, match=r"cut|parts"):
            rebranched_difference(network, box, dataclasses.replace(good, **other))


def certificate(**options: Any) -> tuple[NetworkCertificate, Any]:
    old, x = dense((2, 10, 10, 2), jnp.tanh, 6), np.array([0.3, -0.2])
    made = jb.end_to_end_certificate(
        old, {"tanh": "relu"}, x, box=Box(x - 0.4, x + 0.4), particles=6, **options
    )
    return made, old


def test_parts_are_kept_in_the_certificate_and_checked(tmp_path):
    made, old = certificate(joint=12, branches=5)
    assert made.upper < 0.9 * certificate(joint=12)[0].upper
    assert made.theorem == "Theorem Branching"
    assert "5 parts" in made.claim
    jb.save(made, tmp_path / "c.json")
    loaded = jb.load(tmp_path / "c.json")
    assert isinstance(loaded, NetworkCertificate)
    assert jb.verify(loaded)
    assert jb.verify_model(loaded, old, np.zeros(2))
    assert loaded.upper == made.upper
    cuts = loaded.bound.branches
    assert cuts is not None

    def refused(**changes: Any) -> str:
        bound = dataclasses.replace(made.bound, **changes)
        theorem = made.theorem if bound.branches is not None else "Theorem Joint parabolas"
        found = jb.verify(dataclasses.replace(made, bound=bound, theorem=theorem))
        assert not found
        return found.reason

    # a part missing: the claim rests on fewer cuts than it needs
    fewer = Branches(cuts.leaf[:-1], cuts.axis[:-1], cuts.place[:-1], cuts.parabolas[:-1])
    assert "bounded by" in refused(branches=fewer)
    assert "bounded by" in refused(branches=None)
    # another cut, or multipliers that prove less
    moved = dataclasses.replace(cuts, place=cuts.place + np.array([0.3, 0, 0, 0]))
    assert refused(branches=moved)
    (first,) = cuts.parabolas[0] or (None,)
    assert first is not None
    spoilt = dataclasses.replace(first, quadratic=100 * first.quadratic)
    for k in range(5):
        proofs = [(spoilt,) if i == k else x for i, x in enumerate(cuts.parabolas)]
        bound = dataclasses.replace(cuts, parabolas=tuple(proofs))
        found = rebranched_difference(made.network, made.region, bound)
        assert np.all(found.upper[0] <= rebranched_difference(
            made.network, made.region, dataclasses.replace(cuts, parabolas=(None,) * 5)
        ).upper[0])  # fmt: skip
    assert refused(branches=dataclasses.replace(cuts, parabolas=(None,) * 5))
    unknown = dataclasses.replace(first, linear=first.linear * np.nan)
    assert "derived" in refused(
        branches=dataclasses.replace(cuts, parabolas=((unknown,), *cuts.parabolas[1:]))
    )


def test_a_planted_fault_is_caught(monkeypatch: pytest.MonkeyPatch):
    """Parts that do not cover: the attack on the whole region finds more than is claimed."""
    network, x, change = small()
    box = Box(x - 0.4, x + 0.4)
    points = RNG.uniform(x - 0.4, x + 0.4, size=(200, 3))
    least, most = attacked(change, points, x - 0.4, x + 0.4)
    real = branching._part  # pyright: ignore[reportPrivateUsage]

    def narrow(network: Any, region: Any, ends: Any, *rest: Any) -> Any:
        lower, upper = ends
        middle = lower / 2 + upper / 2
        part = real(network, region, (middle, middle + (upper - lower) / 64), *rest)
        return dataclasses.replace(part, lower=lower, upper=upper)

    monkeypatch.setattr(branching, "_part", narrow)
    found = branched_difference(network, box, 8)
    assert np.any(found.lower[0] > least) or np.any(found.upper[0] < most)


def test_points_and_bad_numbers():
    network, x, change = small()
    found = branched_difference(network, Box(x, x), 8)
    assert found.branches is None
    assert np.allclose(found.upper[0], np.asarray(change(x[None]))[0], atol=1e-3)
    with pytest.raises(UsageError, match="branches=0"):
        branched_difference(network, Box(x, x), 0)
