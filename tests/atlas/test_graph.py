"""The graph of embeddings: verdicts, consistency, paths, every certificate."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import jax.numpy as jnp
import pytest

import jaxbarron as jb
from jaxbarron.bounds.edges import edges
from jaxbarron.bounds.witnesses import find_witness


@pytest.fixture(scope="module")
def atlas():
    return jb.embeddings()


def test_every_pair_of_the_registry_has_a_verdict(atlas):
    names = {e.source.name for e in atlas}
    assert len(names) >= 24
    assert len(atlas) == len(names) ** 2
    counts = Counter(e.verdict for e in atlas)
    # every pair is decided at its natural order
    assert set(counts) == {"embedded", "not embedded"}


def test_what_is_open_is_called_open():
    found = jb.embedding("gelu", "tanh", order=2)
    assert found.verdict == "open"
    assert found.certificate is None
    assert found.theorem == ""


def test_bounded_activations_embed_in_each_other_and_relu_in_none(atlas):
    bounded = ("tanh", "sigmoid", "erf", "arctan", "softsign", "gaussian")
    verdicts = {(e.source.name, e.target.name): e.verdict for e in atlas}
    for target in bounded:
        for source in (*bounded, "identity", "repu(2)", "repu(3)"):
            assert verdicts[source, target] == "embedded"
        for source in ("relu", "gelu", "hard_tanh", "elu"):
            assert verdicts[source, target] == "not embedded"


def test_no_pair_is_both_embedded_and_refuted(atlas):
    # the strongest check of both sides: each is a proof, so they must never meet
    for e in atlas:
        if e.verdict == "embedded":
            assert find_witness(e.source, e.target, e.order) is None, e


def test_intervals_are_intervals(atlas):
    for e in atlas:
        if e.verdict == "embedded":
            assert 0 <= e.lower <= e.upper < math.inf, e
        else:
            assert e.upper == math.inf
    positive = [e for e in atlas if e.verdict == "embedded" and e.lower > 0]
    assert len(positive) > 0.9 * sum(e.verdict == "embedded" for e in atlas)


def test_every_certificate_verifies(atlas):
    for e in atlas:
        if e.verdict == "open":
            assert e.certificate is None
            continue
        found = jb.verify(e.certificate)
        assert found, (e, found.reason)


def test_the_path_is_the_best_of_all_short_ones(atlas):
    # brute force over paths of at most two edges; the search may only do better
    nodes = jb.registered_activations()
    for e in atlas:
        if e.target.name not in ("relu", "leaky_relu", "selu") or e.source == e.target:
            continue
        best = math.inf
        for middle in nodes:
            first = edges(e.source, middle, e.order)[:1]
            second = edges(middle, e.target, e.order)[:1]
            for a, b in itertools.product(first, second):
                best = min(best, a.upper * b.upper)
        assert e.upper <= best * (1 + 1e-12), e


def test_the_direct_edge_is_shown_beside_a_shorter_detour():
    found = jb.embedding("repu(3)", "relu")
    assert found.upper == 5
    assert found.direct.upper == 5
    # 3 -> 2 -> 1 costs 7 * 3
    assert [e.rule for e in found.route] == ["hierarchy"]


def test_known_verdicts():
    for source, target, verdict in [
        ("tanh", "relu", "embedded"), ("relu", "tanh", "not embedded"),
        ("relu", "repu(2)", "not embedded"), ("repu(2)", "relu", "embedded"),
        ("sin", "relu", "not embedded"), ("sin", "cos", "embedded"),
        ("relu", "leaky_relu", "embedded"), ("hard_tanh", "relu", "embedded"),
        ("relu", "identity", "not embedded"), ("relu", "hard_swish", "embedded"),
        ("gelu", "softplus", "embedded"), ("gelu", "squareplus", "embedded"),
        ("gelu", "tanh", "not embedded"), ("sigmoid", "tanh", "embedded"),
    ]:  # fmt: skip
        assert jb.embedding(source, target).verdict == verdict, (source, target)


def test_the_bridge_needs_one_more_power():
    assert jb.embedding("cos", "repu(2)").verdict == "not embedded"
    assert jb.embedding("cos", "repu(2)", order=3).verdict == "embedded"


def test_the_constant_as_a_number():
    found = jb.embedding_constant("tanh", jb.repu(2))
    assert found.lower <= 8 / (3 * math.sqrt(3)) <= found.upper <= found.lower * (1 + 2e-6)
    assert found.level == "rigorous"
    refuted = jb.embedding_constant("relu", "tanh")
    assert refuted.lower == refuted.upper == math.inf
    assert "does not embed" in refuted.reason
    unknown = jb.embedding_constant("gelu", "tanh", order=2)
    assert (unknown.lower, unknown.upper) == (0.0, math.inf)
    assert unknown.reason


def test_an_activation_in_its_own_space():
    for name in ("tanh", "relu", "heaviside"):
        found = jb.embedding(name, name)
        assert (found.verdict, found.upper) == ("embedded", 1.0)


def test_a_function_of_ones_own_joins_the_graph():
    def swirl(z):
        return jnp.tanh(z) + 0.1 * jnp.exp(-((z - 1) ** 2))

    found = jb.embedding(swirl, "leaky_relu")
    assert found.verdict == "embedded"
    assert [e.target.name for e in found.route] == ["relu", "leaky_relu"]


@pytest.mark.parametrize("order", [0, 17, 1.5, True])
def test_orders_that_are_none(order):
    with pytest.raises(jb.JaxbarronError, match="a whole number from 1 to 16"):
        jb.embedding("tanh", "relu", order=order)


def test_progress_is_reported():
    seen = []
    jb.embeddings(["tanh", "relu"], ["relu"], progress=lambda *args: seen.append(args))
    assert seen == [(1, 2), (2, 2)]


def test_the_gain_over_the_paper_s_kernel(atlas):
    known = {(e.source.name, e.target.name): e.gain for e in atlas}
    # T_1(tanh) of shared reference values, the tangent z of cost 2, and the sharp constant 2
    assert known["tanh", "relu"] == pytest.approx((2.47681168808847 + 2) / 2, rel=1e-9)
    assert known["repu(3)", "repu(2)"] == known["repu(2)", "relu"] == 1.0  # Theorem Hierarchy
    pairs = [e for e in atlas if e.verdict == "embedded" and e.source != e.target]
    powers = [e for e in pairs if e.target.homogeneity]
    assert len(powers) >= 50
    for e in atlas:
        if e in powers:
            assert e.gain is not None, (e.source.name, e.target.name)
            assert e.gain >= 1 - 1e-6  # no proof costs less than the constant
        elif e.gain is not None:
            raise AssertionError(f"{e.source.name} in {e.target.name} has no kernel of the paper")
    # another weight, a wide bracket, a function of one's own: not known
    assert jb.embedding("tanh", "relu", order=2).gain is None
    assert jb.embedding("tanh", "sigmoid").gain is None
    assert jb.embedding("relu", "tanh").gain is None
