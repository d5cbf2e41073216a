"""Approximations of open pairs: recomputed from the floats, attacked, and known answers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction

import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from scipy import optimize, special

from jaxbarron.activations import activation, repu
from jaxbarron.atlas import build_approximations
from jaxbarron.atlas.approximations import (
    TOLERANCES,
    best_approximations,
    check_approximation,
    compute_approximations,
    tabulated_pairs,
)
from jaxbarron.atlas.trade_off import TradeOff
from jaxbarron.bounds.witnesses import find_witness
from jaxbarron.errors import DomainError, ToleranceError, UsageError

SELU = 1.6732632423543772, 1.0507009873554805


def softplus(z):
    return np.logaddexp(z, 0.0)


# Written from the textbook definitions, in NumPy: nothing here asks the library.
FORMULAS = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z >= 0, z, 0.01 * z),
    "prelu": lambda z: np.where(z >= 0, z, 0.25 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "celu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "selu": lambda z: SELU[1] * np.where(z > 0, z, SELU[0] * np.expm1(np.minimum(z, 0))),
    "softplus": softplus,
    "sigmoid": lambda z: 0.5 * (1 + np.tanh(z / 2)),
    "hard_sigmoid": lambda z: np.clip((z + 3) / 6, 0, 1),
    "tanh": np.tanh,
    "hard_tanh": lambda z: np.clip(z, -1, 1),
    "gelu": lambda z: z * special.ndtr(z),
    "gelu_tanh": lambda z: z / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
    "silu": lambda z: z * special.expit(z),
    "hard_swish": lambda z: z * np.clip((z + 3) / 6, 0, 1),
    "mish": lambda z: z * np.tanh(softplus(z)),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "arctan": np.arctan,
    "erf": special.erf,
    "gaussian": lambda z: np.exp(-z * z),
    "log_cosh": lambda z: np.logaddexp(z, -z) - math.log(2),
    "relu6": lambda z: np.clip(z, 0, 6),
    "abs": np.abs,
    "squareplus": lambda z: (z + np.sqrt(z * z + 4)) / 2,
    "sin": np.sin,
    "cos": np.cos,
    "identity": lambda z: z,
    "heaviside": lambda z: (z > 0) * 1.0,
    "repu(2)": lambda z: np.maximum(z, 0) ** 2,
    "repu(3)": lambda z: np.maximum(z, 0) ** 3,
    "swish(1.702)": lambda z: z * special.expit(1.702 * z),
}
PRECISE = {
    "elu": lambda z: z if z > 0 else mp.expm1(z),
    "gelu": lambda z: z * mp.erfc(-z / mp.sqrt(2)) / 2,
    "tanh": mp.tanh,
    "sigmoid": lambda z: 1 / (1 + mp.exp(-z)),
    "gaussian": lambda z: mp.exp(-z * z),
    "softplus": lambda z: mp.log(1 + mp.exp(z)),
    "repu(2)": lambda z: max(z, mp.mpf(0)) ** 2,
    "repu(3)": lambda z: max(z, mp.mpf(0)) ** 3,
}
GRID = np.unique(np.concatenate([np.linspace(-1, 1, 801), np.cos(np.pi * np.arange(801) / 800)]))
TABLE = {key: best_approximations(*key) for key in tabulated_pairs()}
# not in the table: GELU does not embed in tanh at order 1, but one particle has approximations
GELU_IN_TANH = compute_approximations(activation("gelu"), activation("tanh"), 1)


def columns(row):
    return [np.array(x) for x in (row.weights, row.directions, row.offsets)]


def residual(source, target, row, x):
    c, alpha, beta = columns(row)
    return FORMULAS[source](x) - c @ FORMULAS[target](alpha[:, None] * x + beta[:, None])


def exact_norm(target, order, row):
    power = {"heaviside": 0, "relu": 1, "repu(2)": 2, "repu(3)": 3}.get(target)
    base, power = (1, order) if power is None else (0, power)
    particles = zip(row.weights, row.directions, row.offsets, strict=True)
    return sum(
        abs(Fraction(c)) * (base + abs(Fraction(a)) + abs(Fraction(b))) ** power
        for c, a, b in particles
    )


# ------------------------------------------------------------------------- the table


def test_every_entry_of_the_table_holds() -> None:
    """Norms as exact fractions, errors on 1600 points: not above the claim, nor far below."""
    assert len(TABLE) > 50
    assert set(TABLE) == set(build_approximations.open_pairs())
    for (source, target, order), rows in TABLE.items():
        assert 3 <= len(rows) <= 6, (source, target)
        for row in rows:
            norm = exact_norm(target, order, row)
            assert norm <= Fraction(row.norm) <= norm * (1 + Fraction(2) ** -52)
            seen = float(np.max(np.abs(residual(source, target, row, GRID))))
            assert 0.95 * row.error <= seen <= row.error * (1 + 1e-9), (source, target, row.error)
            assert 0.85 * row.error <= row.lower <= row.error, (source, target, row.error)
            assert row.level == "rigorous"


def test_the_trade_off_falls_and_is_convex() -> None:
    for pair, rows in TABLE.items():
        norms, errors = [r.norm for r in rows], [r.error for r in rows]
        assert norms == sorted(set(norms)), pair
        assert errors == sorted(set(errors), reverse=True), pair
        size = float(np.max(np.abs(FORMULAS[pair[0]](GRID))))
        for a, b, c in zip([0.0, *norms], norms, norms[1:], strict=False):
            ea, eb, ec = ([size, *errors][[0.0, *norms].index(n)] for n in (a, b, c))
            chord = ((c - b) * ea + (b - a) * ec) / (c - a)
            assert eb <= 1.05 * chord, pair


def test_no_pair_of_the_table_is_refuted() -> None:
    for source, target, order in TABLE:
        assert find_witness(activation(source), activation(target), order) is None


def test_a_spread_of_entries_is_certified_again() -> None:
    """Not all: a row takes up to seconds.  The cheap ones come first, one of each target."""
    by_target = {}
    for pair, rows in TABLE.items():
        for row in rows:
            by_target.setdefault(pair[1], []).append((len(row.weights), row.norm, pair, row))
    for entries in by_target.values():
        ranked = sorted(entries, key=lambda e: e[:3])
        for _, _, pair, row in (ranked[0], ranked[len(ranked) // 2]):
            assert check_approximation(*pair, row) is None, pair


@pytest.mark.parametrize(
    ("source", "target"),
    [("gaussian", "tanh"), ("repu(3)", "tanh"), ("softplus", "gelu"), ("tanh", "gaussian"),
     ("sigmoid", "gaussian"), ("repu(3)", "gaussian")],
)  # fmt: skip
def test_at_fifty_digits(source: str, target: str) -> None:
    if (source, target) not in {p[:2] for p in TABLE}:
        pytest.fail("the table no longer holds the pair: choose another")
    row = TABLE[source, target, 2][2]
    with mp.workdps(50):
        particles = [
            [mp.mpf(x) for x in p]
            for p in zip(row.weights, row.directions, row.offsets, strict=True)
        ]
        norm = sum(abs(c) * (1 + abs(a) + abs(b)) ** 2 for c, a, b in particles)
        assert norm <= row.norm <= norm * (1 + mp.mpf(2) ** -52)
        peaks = GRID[np.argsort(-np.abs(residual(source, target, row, GRID)))[:20]]
        largest = mp.mpf(0)
        for x in map(mp.mpf, [*peaks.tolist(), *np.linspace(-1, 1, 21).tolist()]):
            value = sum(c * PRECISE[target](a * x + b) for c, a, b in particles)
            largest = max(largest, abs(PRECISE[source](x) - value))
        assert mp.mpf(0.98) * row.error <= largest <= row.error


# ---------------------------------------------------------------------- planted faults


@pytest.mark.parametrize("field", ["weights", "directions", "offsets"])
def test_a_changed_number_is_caught(field: str) -> None:
    row = GELU_IN_TANH[2]
    numbers = list(getattr(row, field))
    place = max(range(len(numbers)), key=lambda i: abs(numbers[i]))
    numbers[place] *= 1.01
    changed = replace(row, **{field: tuple(numbers)})
    found = check_approximation("gelu", "tanh", 1, changed)
    assert found is not None
    # with the norm made to fit, the error still gives it away
    fitting = replace(changed, norm=2 * row.norm)
    assert check_approximation("gelu", "tanh", 1, fitting).startswith("the error is at least")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"norm": 4.0}, "the norm is"),
        ({"norm": math.inf}, "the norm is"),
        ({"norm": math.nan}, "the norm is"),
        ({"error": 8.4e-4}, "the error is at least"),
        ({"error": math.nan}, "the error is at most"),
        ({"weights": (1.0,)}, "the measure has"),
        ({"weights": (), "directions": (), "offsets": ()}, "the measure has"),
    ],
)
def test_a_false_claim_is_caught(change: dict, words: str) -> None:
    row = GELU_IN_TANH[2]
    assert check_approximation("gelu", "tanh", 1, row) is None
    assert check_approximation("gelu", "tanh", 1, replace(row, **change)).startswith(words)


def test_numbers_that_are_not_finite_are_caught() -> None:
    row = GELU_IN_TANH[0]
    bad = replace(row, offsets=(math.nan, *row.offsets[1:]))
    assert check_approximation("gelu", "tanh", 1, bad) == "a number of the measure is not finite"
    huge = replace(row, weights=(1e308,) * len(row.weights))
    assert check_approximation("gelu", "tanh", 1, huge).startswith("the norm is inf")


# ------------------------------------------------------------------------ lower bounds


@pytest.mark.parametrize(("source", "target"), [("gaussian", "tanh"), ("arctan", "gaussian")])
def test_the_lower_bound_against_the_program_of_the_least_error(source: str, target: str) -> None:
    """Another program, least error for a norm, over part of the grid and other points."""
    sigma, tau = activation(source), activation(target)
    particles = TradeOff(sigma, tau, 2).particles
    for row in TABLE[source, target, 2][:3]:
        own = np.column_stack([row.directions, row.offsets])
        chosen = np.concatenate([particles[::7], own])
        x = np.linspace(-1, 1, 161)
        unit = FORMULAS[target](chosen[:, :1] * x + chosen[:, 1:])
        matrix = (unit / (1 + np.abs(chosen).sum(axis=1))[:, None] ** 2).T
        ones = np.ones((x.size, 1))
        f = FORMULAS[source](x)
        budget = np.append(np.ones(2 * len(chosen)), 0.0)[None]
        solved = optimize.linprog(
            np.append(np.zeros(2 * len(chosen)), 1.0),
            A_ub=np.concatenate(
                [
                    np.hstack([matrix, -matrix, -ones]),
                    np.hstack([-matrix, matrix, -ones]),
                    budget,
                ]
            ),
            b_ub=np.concatenate([f, -f, [row.norm]]),
            method="highs-ds",
        )
        assert solved.status == 0
        # fewer points than the claim's: a few percent may be lost, on both sides
        assert 0.97 * row.lower <= solved.fun <= row.error * (1 + 1e-6)


def test_the_line_in_relu_has_the_trade_off_that_duality_gives() -> None:
    """E(N) = 1 - N/2: y = (delta_1 - delta_-1)/2 on one side, scaled halves of z on the other."""
    for tolerance, row in zip(
        (0.5, 0.1, 0.01),
        best_approximations("identity", "relu", 1, tolerances=[0.5, 0.1, 0.01]),
        strict=True,
    ):
        assert row.norm == pytest.approx(2 * (1 - tolerance), rel=1e-6)
        assert row.lower == pytest.approx(tolerance, rel=0.02)
        assert row.error == pytest.approx(tolerance, rel=2e-3)


def test_an_activation_in_its_own_space_costs_at_most_its_weight() -> None:
    for row, tolerance in zip(best_approximations("tanh", "tanh", 2), TOLERANCES, strict=True):
        assert row.norm <= 4 * (1 - tolerance) * (1 + 1e-6)


def test_bounded_norms_tell_members_from_others() -> None:
    """ReLU is not in B_tanh (Theorem Smoothness witness): its norms may not settle."""
    tolerances = [1e-1, 1e-2, 1e-3]
    inside = [r.norm for r in best_approximations("gelu", "tanh", 1, tolerances=tolerances)]
    outside = [r.norm for r in best_approximations("relu", "tanh", 1, tolerances=tolerances)]
    assert inside[2] - inside[1] < 0.5 * (inside[1] - inside[0])
    assert outside[2] - outside[1] > 0.5 * (outside[1] - outside[0])


# --------------------------------------------------------------------- functions, errors


def test_functions_of_ones_own() -> None:
    rows = best_approximations(lambda z: z * z * z, lambda z: jnp.tanh(2 * z), 1)
    assert len(rows) == 4
    x = np.linspace(-1, 1, 1001)
    for row in rows:
        c, alpha, beta = columns(row)
        value = c @ np.tanh(2 * (alpha[:, None] * x + beta[:, None]))
        assert np.max(np.abs(x**3 - value)) <= row.error


def test_norms_scale_with_the_source() -> None:
    small, large = (
        best_approximations(lambda z, a=a: a * jnp.cos(2 * z), "tanh", 1, tolerances=[0.1, 0.01])
        for a in (2.0**-30, 2.0**30)
    )
    for a, b in zip(small, large, strict=True):
        assert a.norm * 2.0**60 == pytest.approx(b.norm, rel=1e-9)
        assert a.error * 2.0**60 == pytest.approx(b.error, rel=1e-6)


def test_a_target_whose_particles_span_little_falls_short_and_says_so() -> None:
    rows = best_approximations("tanh", lambda z: z * z, 1)

    # Odd, so the nearest polynomial of degree 2 is a line a x: the error at 1 is that at its peak.
    def defect(a: float) -> float:
        x = math.acosh(1 / math.sqrt(a))
        return (a - math.tanh(1)) - (math.tanh(x) - a * x)

    nearest = optimize.brentq(defect, math.tanh(1), 0.99) - math.tanh(1)
    assert rows[-1].error == pytest.approx(nearest, rel=2e-3)
    assert rows[-1].error > 1e-2


def test_zero_costs_nothing() -> None:
    (row,) = best_approximations(lambda z: 0 * z, "tanh", 1)
    assert (row.norm, row.error, row.lower) == (0.0, 0.0, 0.0)


def test_heaviside_and_repu_targets() -> None:
    for target, order in ((repu(0), 1), (repu(2), 2)):
        for row in best_approximations("tanh", target, order, tolerances=[0.1]):
            assert check_approximation("tanh", target, order, row) is None
            assert exact_norm(target.name, order, row) <= Fraction(row.norm)


@pytest.mark.parametrize("order", [-1, 1.5, True, "1"])
def test_bad_orders(order: object) -> None:
    for tolerances in (TOLERANCES, (0.1,)):
        with pytest.raises(UsageError, match="whole number"):
            best_approximations("gelu", "tanh", order, tolerances=tolerances)


@pytest.mark.parametrize("tolerances", [[], [0.0], [-0.1], [2.0], [math.nan], [math.inf]])
def test_bad_tolerances(tolerances: list[float]) -> None:
    with pytest.raises(ToleranceError, match="tolerances="):
        best_approximations("gelu", "tanh", 1, tolerances=tolerances)


def test_functions_that_are_not_finite() -> None:
    with pytest.raises(DomainError, match="not finite on"):
        best_approximations(lambda z: jnp.log(z), "tanh", 1)
    with pytest.raises(DomainError, match="no particle is finite"):
        best_approximations("tanh", lambda z: z * jnp.inf, 1)


# ------------------------------------------------------------------------- the builder


def test_the_builder_resumes_and_drops(tmp_path, capsys) -> None:
    path = tmp_path / "approximations.json"
    pairs = [("elu", "gaussian", 1), ("gelu", "tanh", 1)]
    assert build_approximations.main([], path, pairs) == 0
    first = path.read_text()
    data = json.loads(first)
    assert [(e["source"], e["target"], e["order"]) for e in data["entries"]] == pairs
    data["entries"][0]["rows"] = data["entries"][0]["rows"][:1]
    path.write_text(json.dumps(data))
    build_approximations.main([], path, pairs)
    assert len(json.loads(path.read_text())["entries"][0]["rows"]) == 1  # kept, not built again
    build_approximations.main([], path, pairs[1:])
    assert len(json.loads(path.read_text())["entries"]) == 1
    build_approximations.main(["--fresh"], path, pairs)
    assert path.read_text() == first
    assert "gelu -> tanh" in capsys.readouterr().err


def test_the_shipped_rows_are_those_that_the_code_computes() -> None:
    for source, target in (("sigmoid", "gaussian"), ("gaussian", "tanh")):
        rows = compute_approximations(activation(source), activation(target), 2)
        for a, b in zip(rows, TABLE[source, target, 2], strict=True):
            # another linear program's solver may choose other particles of the same norm
            assert a.norm == pytest.approx(b.norm, rel=3e-3)
            assert a.error == pytest.approx(b.error, rel=1e-2)
