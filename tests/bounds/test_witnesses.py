"""Non-embeddings: the functionals attacked from outside, faults planted, embeddings spared."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from jaxbarron.activations import activation, registered_activations, repu
from jaxbarron.bounds import obstructions, regularity
from jaxbarron.bounds.witnesses import check_witness, find_witness
from jaxbarron.errors import UsageError

FORMULAS = {
    "heaviside": lambda z: mp.mpf(z > 0),
    "relu": lambda z: max(z, mp.mpf(0)),
    "repu(2)": lambda z: max(z, mp.mpf(0)) ** 2,
    "repu(3)": lambda z: max(z, mp.mpf(0)) ** 3,
    "leaky_relu": lambda z: z if z >= 0 else mp.mpf(0.01) * z,
    "hard_tanh": lambda z: max(min(z, mp.mpf(1)), mp.mpf(-1)),
    "elu": lambda z: z if z > 0 else mp.expm1(z),
    "softsign": lambda z: z / (1 + abs(z)),
    "tanh": mp.tanh,
    "sigmoid": lambda z: 1 / (1 + mp.exp(-z)),
    "softplus": lambda z: mp.log1p(mp.exp(-abs(z))) + max(z, mp.mpf(0)),
    "gelu": lambda z: z * mp.erfc(-z / mp.sqrt(2)) / 2,
    "silu": lambda z: z / (1 + mp.exp(-z)),
    "arctan": mp.atan,
    "gaussian": lambda z: mp.exp(-z * z),
    "squareplus": lambda z: (z + mp.sqrt(z * z + 4)) / 2,
    "sin": mp.sin,
    "identity": lambda z: z,
}
NAMES = tuple(FORMULAS)


def witness(source, target, order):
    return find_witness(activation(source), activation(target), order)


def weight(sigma, order, w, b):
    reach = abs(mp.mpf(w)) + abs(mp.mpf(b))
    s = sigma.homogeneity
    return (1 + reach) ** order if s is None else reach**s


def divided_difference(values, nodes):
    table = list(values)
    for level in range(1, len(nodes)):
        table = [
            (table[i + 1] - table[i]) / (nodes[i + level] - nodes[i]) for i in range(len(table) - 1)
        ]
    return table[0]


@pytest.fixture(autouse=True)
def _digits():
    with mp.workdps(80):
        yield


# ------------------------------------------------------------------- all pairs


def test_every_witness_between_registered_activations_checks():
    began, count = time.perf_counter(), dict.fromkeys(range(4), 0)
    everything = registered_activations()
    for source, target, order in itertools.product(everything, everything, range(4)):
        found = find_witness(source, target, order)
        if found is not None:
            count[order] += 1
            assert check_witness(found) is None, found
            assert found.source == source
            assert source.name in found.claim
            assert target.name in found.claim
    assert time.perf_counter() - began < 60
    assert all(n > 300 for n in count.values())


@pytest.mark.parametrize(
    ("source", "target", "order", "kind", "m"),
    [
        ("repu(1)", "repu(2)", 1, "jump", 2),
        ("repu(2)", "repu(3)", 0, "jump", 3),
        ("repu(0)", "repu(1)", 2, "jump", 1),
        ("repu(4)", "repu(5)", 1, "jump", 5),
        ("relu", "tanh", 2, "jump", 2),
        ("relu", "tanh", 1, "smoothness", 1),
        ("relu", "elu", 2, "jump", 2),
        ("relu", "celu", 1, "smoothness", 1),
        ("relu", "softsign", 1, "smoothness", 1),
        ("softsign", "gelu", 3, "jump", 3),
        ("softsign", "gelu", 2, "smoothness", 2),
        ("heaviside", "relu6", 0, "smoothness", 0),
        ("heaviside", "leaky_relu", 1, "jump", 1),
        ("tanh", "repu(2)", 1, "growth", 2),
        ("identity", "relu", 0, "growth", 1),
        ("gelu", "tanh", 0, "growth", 0),
        ("sin", "relu", 1, "growth", 1),
        ("cos", "tanh", 3, "growth", 3),
        ("tanh", "identity", 3, "growth", 2),
    ],
)
def test_known_non_embeddings_are_found(source, target, order, kind, m):
    found = witness(source, target, order)
    assert (found.kind, found.derivative) == (kind, m)


SMOOTH = [a.name for a in registered_activations() if not a.kinks and a.homogeneity is None]
WAVES = {"sin", "cos"}
BOUNDED = {"tanh", "sigmoid", "arctan", "erf", "gaussian"}
PIECEWISE_LINEAR = ["relu", "leaky_relu", "prelu", "abs", "hard_tanh", "hard_sigmoid", "relu6"]


def embedded_pairs():
    for s, t in itertools.combinations(range(6), 2):
        yield from ((repu(t).name, repu(s).name, p) for p in range(4))
    for name, s, extra in itertools.product(SMOOTH, range(4), range(2)):
        order = s + extra + (name in WAVES)
        if order > 0 or name in BOUNDED:  # T_0 is the variation of sigma
            yield name, repu(s).name, order
    for name in ("elu", "celu", "softsign", "selu", "hard_swish"):
        yield from ((name, "relu", p) for p in (1, 2, 3))
    yield from ((a, b, 1) for a, b in itertools.permutations(PIECEWISE_LINEAR, 2))
    for p in range(4):
        yield from (("tanh", "sigmoid", p), ("sigmoid", "tanh", p), ("log_cosh", "softplus", p))
        yield from (("sin", "cos", p), ("cos", "sin", p), ("gelu", "gelu", p))
        yield from (("identity", "leaky_relu", max(p, 1)), ("softplus", "log_cosh", max(p, 1)))
    yield from ((name, "elu", 1) for name in SMOOTH if name not in WAVES)
    yield from (("relu", "elu(0.5)", 1), ("relu", "selu", 1), ("abs", "elu(2)", 1))


def test_pairs_that_embed_have_no_witness():
    for source, target, order in embedded_pairs():
        assert witness(source, target, order) is None, (source, target, order)


def test_the_bound_that_fails_at_order_one_is_refused():
    """softplus(beta z)/beta has norm <= 2 at p = 1, and second differences that grow like 1/h."""
    softplus = activation("softplus")
    assert obstructions._difference_bound(softplus, 1, 2) == math.inf
    assert obstructions._difference_bound(softplus, 2, 2) < 0.13
    beta, nodes = mp.mpf(2) ** 20, [mp.mpf(x) for x in (-1e-6, 0, 1e-6)]
    steep = [FORMULAS["softplus"](beta * x) / beta for x in nodes]
    assert divided_difference(steep, nodes) > 0.13 * 2 * 100


def test_the_closure_is_claimed_only_where_it_is_proved():
    closure = "lies in the uniform closure of a ball"
    assert closure in witness("relu", "softplus", 1).claim
    assert closure in witness("relu", "log_cosh", 1).claim
    assert closure not in witness("relu", "tanh", 1).claim
    assert closure not in witness("abs", "softplus", 1).claim


# ----------------------------------------------------------------- attacks


def random_particles(rng, count):
    for _ in range(count):
        w, b = (float(rng.choice([-1, 1])) * 10.0 ** rng.uniform(-3, 3) for _ in range(2))
        # Where w x + b is small the derivatives of tau are largest: the worst place for the bound.
        yield w, b if rng.random() < 0.4 else -w * rng.uniform(-1, 1) + rng.normal()


def test_no_particle_exceeds_the_bound_on_divided_differences():
    rng = np.random.default_rng(0)
    largest = 0.0
    for name, order in itertools.product(NAMES, range(4)):
        tau = activation(name)
        for m in range(5):
            bound = obstructions._difference_bound(tau, order, m)
            if bound == math.inf:
                continue
            for w, b in random_particles(rng, 12):
                spread = 10.0 ** rng.uniform(-6, 0)
                nodes = [mp.mpf(x) for x in np.unique(rng.uniform(-spread, spread, m + 1))]
                values = [FORMULAS[name](w * x + b) for x in nodes]
                reached = abs(divided_difference(values, nodes)) / weight(tau, order, w, b)
                assert reached <= bound, (name, order, m, w, b)
                largest = max(largest, float(reached / bound) if bound else 0.0)
    assert largest > 0.5  # the attack comes near


def test_no_particle_exceeds_the_bound_on_variations():
    rng = np.random.default_rng(1)
    grid = [mp.mpf(x) / 40 - 1 for x in range(81)]
    near = 0.0
    for name, k in itertools.product(NAMES, range(3)):
        tau = activation(name)
        bound = math.factorial(k) if tau.homogeneity == k else regularity.variation_bound(tau, k)
        if bound == math.inf:
            continue
        for w, b in random_particles(rng, 6):
            values = [FORMULAS[name](w * x + b) for x in grid]
            means = [
                math.factorial(k) * divided_difference(values[i : i + k + 1], grid[i : i + k + 1])
                for i in range(len(grid) - k)
            ]
            variation = sum(abs(y - x) for x, y in itertools.pairwise(means))
            reached = variation / weight(tau, k, w, b)
            assert reached <= bound + mp.mpf(10) ** -60, (name, k, w, b)
            near = max(near, float(reached / bound) if bound else 0.0)
    assert near > 0.5


def reached_by_source(found):
    """The ratios anew: mpmath, other nodes for variations, Newton's table for differences."""
    sigma, f = found.source, FORMULAS[found.source.name]
    m, t, order = found.derivative, found.location, found.order
    for x, ratio in found.ratios:
        if "Variation" in found.theorem:
            if x > 16:
                continue
            count = 64 * int(x)
            steps = [mp.sin(x * (mp.mpf(2 * i) / count - 1) + m * mp.pi / 2) for i in range(count)]
            size = x**m * sum(abs(b - a) for a, b in itertools.pairwise(steps))
            yield ratio, size / (found.atom_bound * weight(sigma, order, x, 0))
        elif "Value" in found.theorem:
            b = math.copysign(x, t)
            yield ratio, abs(f(mp.mpf(b))) / (found.atom_bound * weight(sigma, order, 0, b))
        else:
            jumps = found.kind == "jump"
            w = 1 if jumps else x
            nodes = [(i - mp.mpf(m) / 2) * (x if jumps else 0.5 / mp.mpf(w)) for i in range(m + 1)]
            size = abs(divided_difference([f(w * u + t) for u in nodes], nodes))
            yield ratio, size / (found.atom_bound * weight(sigma, order, w, t))


def test_the_ratios_are_those_of_the_source():
    seen = set()
    for source, target, order in itertools.product(NAMES, NAMES, range(4)):
        found = witness(source, target, order)
        if found is None or found.atom_bound == 0:
            continue
        seen.add(found.theorem)
        for ratio, true in reached_by_source(found):
            assert ratio <= true * (1 + mp.mpf(10) ** -12), found
            if "Variation" not in found.theorem:
                assert ratio >= true * (1 - mp.mpf(10) ** -12), found
    assert len(seen) == 6


def test_the_ratios_of_a_jump_grow_like_one_over_h():
    found = witness("hard_swish", "tanh", 2)
    (h, first), *_, (last_h, last) = found.ratios
    assert last / first == pytest.approx(h / last_h, rel=0.05)
    assert found.gap == pytest.approx(0.5, rel=1e-15)


# ------------------------------------------------------------ planted faults


PROOFS = [
    ("relu", "tanh", 2),
    ("hard_swish", "gelu", 2),
    ("relu", "softplus", 1),
    ("tanh", "repu(2)", 1),
    ("silu", "erf", 0),
    ("sin", "relu", 1),
    ("sin", "softplus", 2),
    ("gelu", "identity", 1),
]


@pytest.mark.parametrize("pair", PROOFS)
def test_a_changed_number_is_named(pair):
    found = witness(*pair)
    assert check_witness(found) is None
    assert "gap" in check_witness(replace(found, gap=found.gap * 1.01))
    assert "gap" in check_witness(replace(found, gap=-found.gap))
    assert "gap" in check_witness(replace(found, gap=math.nan))
    for bound in (found.atom_bound * 0.99, math.nan, math.inf, -1.0):
        if bound != found.atom_bound:
            assert "atom bound" in check_witness(replace(found, atom_bound=bound))
    for i, (x, ratio) in enumerate(found.ratios):
        if ratio < math.inf:
            for changed in ((x, ratio * 1.01), (x, math.nan), (-x, ratio), (math.nan, ratio)):
                table = (*found.ratios[:i], changed, *found.ratios[i + 1 :])
                assert "ratio" in check_witness(replace(found, ratios=table))
    assert check_witness(replace(found, derivative=-1))
    assert check_witness(replace(found, derivative=11))
    assert check_witness(replace(found, order=-1))
    assert check_witness(replace(found, location=math.nan))
    assert check_witness(replace(found, theorem="Theorem Wishful thinking"))
    assert check_witness(replace(found, target=found.source))
    for kind in {"jump", "smoothness", "growth"} - {found.kind}:
        assert "kind" in check_witness(replace(found, kind=kind))
    if found.ratios and found.atom_bound:
        assert "grow" in check_witness(replace(found, ratios=found.ratios[:1]))
        assert "grow" in check_witness(replace(found, ratios=found.ratios[::-1]))


def test_a_moved_location_is_named():
    jump, smooth = witness("relu", "tanh", 2), witness("relu", "tanh", 1)
    for at in (0.5, 1e-9, -1e-9, math.inf, math.nan):
        assert "jump" in check_witness(replace(jump, location=at))
        assert "jump" in check_witness(replace(smooth, location=at))
    assert check_witness(replace(witness("silu", "erf", 0), location=-math.inf))
    assert check_witness(replace(witness("sin", "relu", 1), location=1.0))
    # Near +-0.66, where |tanh''| is largest, the gap would be larger: a smaller one stays true.
    growth = witness("tanh", "repu(2)", 1)
    assert check_witness(replace(growth, location=9.0)) is not None


def test_a_claim_about_an_embedded_pair_is_refused():
    softplus, relu = activation("softplus"), activation("relu")
    for pair in PROOFS:
        found = witness(*pair)
        assert check_witness(replace(found, source=softplus, target=relu, order=1)) is not None


def test_weaker_claims_stay_true():
    found = witness("relu", "tanh", 2)
    lower = tuple((h, ratio / 2) for h, ratio in found.ratios)
    weaker = replace(found, gap=0.5, atom_bound=found.atom_bound * 1.5, ratios=lower)
    assert check_witness(weaker) is None


# ------------------------------------------------------------- users' functions


def test_users_functions_work_as_targets_and_sources():
    mine = activation(lambda z: jnp.tanh(z) + z / 8, name="tilted")
    assert find_witness(activation("relu"), mine, 2).kind == "jump"
    assert find_witness(mine, repu(3), 2).kind == "growth"
    cube = activation(lambda z: z * z * z, name="cube")
    assert find_witness(cube, activation("softplus"), 2).theorem == "Theorem Value witness"
    assert find_witness(activation("tanh"), cube, 1).theorem == "Theorem Polynomial target"
    assert find_witness(cube, repu(3), 3) is None


@pytest.mark.parametrize("at", [0.0, 0.5, 1 / 3, -7.3])
def test_an_undeclared_kink_gives_no_witness(at):
    kinked = activation(lambda z: jnp.abs(z - at) + jnp.tanh(z), name="kinked")
    bent = activation(lambda z: jnp.where(z > at, (z - at) ** 2, 0.0), name="bent")
    for order in (1, 2):
        assert find_witness(activation("relu"), kinked, order) is None
        assert find_witness(activation("relu"), bent, order) is None


def test_the_source_itself_and_bad_orders():
    relu = activation("relu")
    assert find_witness(relu, relu, 1) is None
    for order in (-1, 1.5, True):
        with pytest.raises(UsageError, match="whole number"):
            find_witness(relu, activation("tanh"), order)
