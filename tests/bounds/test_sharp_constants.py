"""Sharp constants, attacked: the formula of shares, quadrature, linear programs, planted faults."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from fractions import Fraction

import flint
import numpy as np
import pytest
from scipy.optimize import linprog

import jaxbarron as jb
from jaxbarron import activation, repu
from jaxbarron.balls.series import working_precision
from jaxbarron.bounds.bias_free import bias_free_constant
from jaxbarron.bounds.edges import RULES, edges
from jaxbarron.bounds.sharp import Dual, Plan, Stage, check_evidence, functionals, sharp_constant
from jaxbarron.bounds.sharp.build_table import main
from jaxbarron.bounds.sharp.closed_forms import CLOSED_FORMS, closed_form
from jaxbarron.bounds.sharp.evidence import evidence_from_json, evidence_to_json
from jaxbarron.bounds.sharp.functionals import is_in_the_body, is_positive
from jaxbarron.bounds.sharp.moments import AbsoluteMoments
from jaxbarron.bounds.sharp.plans import PlanCost
from jaxbarron.bounds.sharp.programs import free_plan
from jaxbarron.bounds.sharp.proof import lower_of_dual
from jaxbarron.bounds.sharp.table import entries, lookup
from jaxbarron.errors import UsageError
from jaxbarron.programs import evaluate_program

ENTRIES = list(entries().values())
PROVED = [e for e in ENTRIES if e.evidence is not None]
NATURAL = [e for e in PROVED if e.order == e.s]


def values(sigma, z, order=0):
    program = sigma.derivative(order).program if order else sigma.program
    return np.asarray(evaluate_program(program, np.asarray(z, float)), float)


# ----------------------------------------------------------------- the table


@pytest.mark.parametrize("entry", NATURAL[::3], ids=lambda e: f"{e.source}-{e.s}")
def test_an_entry_is_proved_again_by_its_evidence(entry):
    # all of them: python -m jaxbarron.bounds.sharp.build_table --check
    found = check_evidence(activation(entry.source), entry.s, entry.order, entry.evidence)
    assert entry.lower <= found.lower <= found.upper <= entry.upper


def test_known_constants():
    # the figures for the limits; the hierarchy's for all t, s <= 5
    tanh = [lookup("tanh", s, s) for s in (1, 2, 3)]
    for entry, value in zip(tanh, (2.0, 8 / (3 * 3**0.5), 10 / 9), strict=True):
        assert entry.lower <= value * (1 + 1e-15)
        assert value <= entry.upper * (1 + 1e-15)
    for (t, s), value in {(2, 1): 3, (3, 1): 5, (3, 2): 7, (4, 2): 17, (4, 3): 15}.items():
        assert lookup(repu(t).name, s, s).upper == value
    for t in range(6):
        for s in range(1, 6):
            entry = lookup(repu(t).name, s, s)
            assert math.isinf(entry.lower) if t < s else entry.lower == entry.upper
    c = jb.embedding_constant(repu(4), repu(2))
    assert c.lower == c.upper == 17.0


def test_closed_forms_lie_in_their_intervals():
    found = 0
    for (name, s, reach), (text, number) in CLOSED_FORMS.items():
        entry = lookup(name, s, s)
        if entry is None:
            continue
        assert entry.reach == reach
        with working_precision(128):
            assert flint.arb(entry.lower) <= number() <= flint.arb(entry.upper)
        found += 1
        if s == 1:
            proved = check_evidence(activation(name), s, s, entry.evidence)
            assert closed_form(proved) == text
    assert found >= 12


def test_a_closed_form_is_not_stated_where_nothing_proves_it(softplus):
    found = sharp_constant("tanh", 1)
    assert closed_form(found) == "2"
    assert closed_form(dataclasses.replace(found, upper=2.1)) == ""
    assert closed_form(dataclasses.replace(found, upper=1.9)) == ""
    assert closed_form(softplus) == ""


# ------------------------------------------------------ attacks on the upper bound


def norm_on_an_interval(sigma, s, w, b):
    """A float lower bound of the norm: a linear program in measures on points, made valid."""
    y = np.cos(np.pi * np.arange(25) / 24)
    t = np.concatenate([np.linspace(-1, 1, 81), 1 / np.linspace(-0.98, 0.98, 30)])

    def atoms(t):
        rows = [np.maximum(y - t[:, None], 0) ** s, np.maximum(t[:, None] - y, 0) ** s]
        rows = [r / (1 + np.abs(t))[:, None] ** s for r in rows]
        return np.concatenate([*rows, np.ones((1, len(y)))])

    f = values(sigma, w * y + b)
    a = atoms(t)
    a = np.concatenate([a, -a])
    found = linprog(
        -f, A_ub=a, b_ub=np.ones(len(a)), bounds=[(None, None)] * len(y), method="highs"
    )
    assert found.status == 0
    # between the grid's kinks the functional may exceed 1: divide by a finer maximum
    fine = np.concatenate([np.linspace(-1, 1, 8001), 1 / np.linspace(-0.9999, 0.9999, 2000)])
    worst = max(1.0, float(np.max(np.abs(atoms(fine) @ found.x))) * (1 + 1e-4))
    return float(f @ found.x) / worst


@pytest.mark.parametrize("name", ["silu", "elu"])
def test_random_particles_never_exceed_the_constant(name):
    sigma, rng = activation(name), np.random.default_rng(7)
    for s in (1, 2):
        entry = lookup(name, s, s)
        if entry is None or entry.evidence is None:
            continue
        best = 0.0
        for k in range(5):
            w, b = rng.uniform(0.05, 12), rng.normal() * 2
            if k < 3 and 0 < entry.reach < 100:
                w, b = entry.reach * (1 + 0.01 * k), 0.001 * k
            norm = norm_on_an_interval(sigma, s, w, b)
            best = max(best, norm / (1 + w + abs(b)) ** s)
        assert best <= entry.upper
        if 0 < entry.reach < 100:
            assert best > 0.8 * entry.lower


def test_the_density_part_at_random_particles_by_midpoints():
    rng = np.random.default_rng(3)
    for entry in NATURAL[::4]:
        sigma, s = activation(entry.source), entry.s
        if sigma.kinks or s > 3:
            continue
        w, b = float(rng.uniform(0.1, 8)), float(rng.normal())
        z = b - w + 2 * w * (np.arange(20_000) + 0.5) / 20_000
        density = np.abs(values(sigma, z, s + 1)) * (w + np.abs(z - b)) ** s
        part = float(np.mean(density)) * 2 * w / math.factorial(s)
        assert part / (1 + w + abs(b)) ** s <= entry.upper * (1 + 1e-5)


def test_the_norm_grows_with_the_interval():
    # Theorem One reach: [b - w, b + w] costs no more than [-rho, rho], rho = w + |b|
    sigma = activation("softplus")
    inner, outer = norm_on_an_interval(sigma, 1, 1.0, 0.7), norm_on_an_interval(sigma, 1, 1.7, 0.0)
    assert inner <= outer


# --------------------------------------------------------------- its ingredients


@pytest.mark.parametrize(("name", "s"), [("gelu", 1), ("tanh", 2), ("mish", 3)])
def test_the_formula_of_shares(name, s):
    # random steps, the integrals by a fine midpoint rule
    sigma, rng = activation(name), np.random.default_rng(s)
    rho, count = 3.0, 200_000
    t = -rho + 2 * rho * (np.arange(count) + 0.5) / count
    places = np.sort(rng.uniform(-rho, rho, 4))
    shares = np.array([0.0, *rng.uniform(0, 1, 3), 1.0])
    changes = np.diff(shares)
    share = shares[np.searchsorted(places, t)]
    density = values(sigma, t, s + 1) * (2 * rho / count) / math.factorial(s)
    for z in rng.uniform(-rho, rho, 5):
        right = np.sum(share * density * np.maximum(z - t, 0) ** s)
        left = np.sum((1 - share) * density * np.maximum(t - z, 0) ** s)
        taylor = [
            sum(values(sigma, c, k) * (z - c) ** k / math.factorial(k) for k in range(s + 1))
            for c in places
        ]
        total = changes @ np.array(taylor) + right + (-1) ** (s + 1) * left
        assert total == pytest.approx(float(values(sigma, z)), abs=2e-3)


@pytest.mark.parametrize(
    ("name", "s"), [("silu", 1), ("softsign", 1), ("hard_swish", 1), ("erf", 3)]
)
def test_moments_by_quadrature(name, s):
    sigma = activation(name)
    with working_precision(128, 40):
        moments = AbsoluteMoments(sigma, s, 16.0)
        for rho in (0.5, 2.25, 7.0):
            found = moments.at(flint.fmpq(*rho.as_integer_ratio()))
            for k in range(s + 1):
                splits = [c.location for c in sigma.kinks if abs(c.location) < rho]
                mass = 0.0  # by the midpoint rule between the kinks
                for a, b in itertools.pairwise([-rho, *splits, rho]):
                    h = (b - a) / 40_000
                    z = a + h * (np.arange(40_000) + 0.5)
                    mass += h * np.sum(np.abs(values(sigma, z, s + 1)) * np.abs(z) ** k)
                jumps = sum(
                    abs(c.jumps[s]) * abs(c.location) ** k
                    for c in sigma.kinks
                    if abs(c.location) < rho
                )
                expected = (mass + jumps) / math.factorial(s)
                assert float(found[k].mid()) == pytest.approx(expected, rel=1e-6)
                assert float(found[k].rad()) < 1e-15


@pytest.mark.parametrize(("name", "s"), [("softplus", 1), ("silu", 2), ("log_cosh", 2)])
def test_the_slope_of_a_cost_by_differences(name, s):
    sigma, rho, step = activation(name), 3.5, 2.0**-12
    plan = free_plan(sigma, s, rho).plan
    fixed = Plan(((-1.0, 0.0, 0.5), (0.25, 0.0, 0.5)))
    with working_precision(128, 40):
        moments = AbsoluteMoments(sigma, s, 16.0)
        for chosen in (plan, fixed):
            for order in (s, s + 1):
                cost = PlanCost(moments, chosen, order)
                middle = flint.fmpq(15, 4)
                near = flint.fmpq(1, 4096)
                left, right = float(cost.ratio(middle - near)), float(cost.ratio(middle + near))
                slope = cost.slope(middle - near / 4096, middle + near / 4096)
                assert float(slope.mid()) == pytest.approx(
                    (right - left) / (2 * step), abs=float(slope.rad()) + 1e-5
                )


def test_a_plan_costs_no_less_than_the_norm():
    for name, s, rho in (("softplus", 1, 5.25), ("sigmoid", 1, 2.5), ("silu", 3, 3.75)):
        sigma = activation(name)
        with working_precision(128, 40):
            cost = PlanCost(AbsoluteMoments(sigma, s, 16.0), free_plan(sigma, s, rho).plan, s)
            upper = float(cost.value(flint.fmpq(*rho.as_integer_ratio())))
        norm = norm_on_an_interval(sigma, s, rho, 0.0)
        assert norm <= upper <= norm * 1.12


def test_the_body():
    assert is_in_the_body((1.0, 1.0), 1)  # a vertex: |M_0| <= 1, |M_0| + |M_1| <= 2
    assert not is_in_the_body((1.0, 1.0 + 1e-12), 1)
    assert not is_in_the_body((1.0,), 1)
    assert is_positive([Fraction(1), Fraction(-2), Fraction(1)], Fraction(0), Fraction(2))
    assert not is_positive([Fraction(1), Fraction(-3), Fraction(1)], Fraction(0), Fraction(3))


def test_moments_beyond_the_density_part():
    sigma = activation("softplus")
    plain = lower_of_dual(sigma, 1, 1, Dual(5.0))
    more = lower_of_dual(sigma, 1, 1, Dual(5.0, (0.999999, 0.999999)))
    norm = norm_on_an_interval(sigma, 1, 5.0, 0.0) / 6
    assert plain < more
    assert norm == pytest.approx(more, rel=2e-3)
    assert lower_of_dual(sigma, 1, 1, Dual(5.0, (2.0, 0.0))) == 0.0


# ----------------------------------------------------------------- planted faults


@pytest.fixture(scope="module")
def softplus():
    return sharp_constant("softplus", 1)


def test_planted_faults_are_caught(softplus):
    evidence, sigma = softplus.evidence, activation("softplus")

    def upper(**changes):
        return check_evidence(sigma, 1, 1, dataclasses.replace(evidence, **changes)).upper

    assert upper() == softplus.upper
    first, *rest = evidence.stages
    assert upper(stages=tuple(rest)) == math.inf  # a gap at 0
    assert upper(stages=(first, *rest[1:])) == math.inf
    assert upper(stages=evidence.stages[:-1]) >= softplus.upper  # ends early: no less
    assert upper(goal=softplus.lower * (1 - 1e-6)) == math.inf
    moved = Plan(((0.0, 2.0, 1.0),))
    assert upper(stages=(*rest, Stage(first.start, first.end, moved))) == math.inf
    # beyond the last stage a plan that costs more
    assert upper(beyond=Plan(((0.0, 0.0, 1.0),))) > softplus.upper
    with pytest.raises(UsageError, match="never below or above"):
        upper(beyond=Plan(((0.0, 0.0, 1.5), (1.0, 0.0, -0.5))))
    with pytest.raises(UsageError, match="never below or above"):
        upper(beyond=Plan(((0.0, 0.0, 0.5),)))
    with pytest.raises(UsageError, match="different places"):
        upper(stages=(Stage(0.0, 8.0, Plan(((0.0, 0.0, 1.0),), (1.0, 1.0))),))


def test_the_certificate(softplus, tmp_path):
    certificate = jb.sharp_certificate(softplus)
    file = tmp_path / "softplus.json"
    jb.save(certificate, file)
    assert jb.load(file) == certificate
    assert jb.verify(file)
    better = dataclasses.replace(certificate, upper=softplus.lower)
    assert not jb.verify(better)
    assert not jb.verify(dataclasses.replace(certificate, lower=softplus.upper))
    assert not jb.verify(dataclasses.replace(certificate, level="float"))
    assert not jb.verify(dataclasses.replace(certificate, source=activation("mish")))
    data = json.loads(file.read_text())
    data["evidence"]["stages"][0][1] = (0.1).hex()
    file.write_text(json.dumps(data))
    assert not jb.verify(file)


def test_evidence_that_is_no_number_is_refused(softplus):
    certificate = jb.sharp_certificate(softplus)
    evidence = softplus.evidence
    for kinks in ((math.nan, 0.5), (math.inf, -math.inf)):
        first = dataclasses.replace(evidence.stages[0], plan=Plan(((0.0, -1.0, 1.0),), kinks))
        faulty = dataclasses.replace(evidence, stages=(first, *evidence.stages[1:]))
        assert not jb.verify(dataclasses.replace(certificate, evidence=faulty))
    for dual in (Dual(1.0, (math.nan, 0.0)), Dual(1.0, (math.inf, 0.0)), Dual(1e308), Dual(-1.0)):
        faulty = dataclasses.replace(evidence, dual=dual)
        assert not jb.verify(dataclasses.replace(certificate, evidence=faulty))
    faulty = dataclasses.replace(evidence, goal=math.nan)
    assert not jb.verify(dataclasses.replace(certificate, evidence=faulty))


def test_a_sign_that_holds_up_to_a_slack_is_paid_for():
    with working_precision(128, 25):
        moments = AbsoluteMoments(activation("tanh"), 1, 4.0)
        # D < 0 and Q = -z < 0 on z > 0: nothing is lost where the sign of D is proved
        weights, rho, slack = [flint.fmpq(0), flint.fmpq(-1)], flint.fmpq(2), flint.arb(2) ** -20
        assert functionals._paid(moments, 1, rho, weights) < slack / 2**30
        moments._sides[1] = [dataclasses.replace(p, slack=slack) for p in moments._sides[1]]
        assert functionals._paid(moments, 1, rho, weights).upper() >= 2 * slack


def test_evidence_as_json(softplus):
    assert evidence_from_json(evidence_to_json(softplus.evidence)) == softplus.evidence
    for change in ({"stages": []}, {"beyond": 99}, {"reach": "nan"}):
        with pytest.raises(ValueError, match=r"no stage|no plan|not a number"):
            evidence_from_json(evidence_to_json(softplus.evidence) | change)


# ------------------------------------------------------------ the rest of the house


def test_the_atlas_shows_the_sharp_interval_and_its_certificate_is_checked():
    for name in ("silu", "sigmoid"):
        found = jb.embedding(name, "relu")
        assert found.upper <= found.lower * (1 + 1e-6)
        assert found.theorem == "Theorem One reach"
        assert jb.verify(found.certificate)
    (edge,) = edges(activation("silu"), repu(1), 1)
    assert RULES[edge.rule](edge.source, edge.target, 1).upper <= edge.upper
    lower = dataclasses.replace(edge, upper=edge.upper * (1 - 1e-5))
    certificate = jb.embedding("silu", "relu").certificate
    assert not jb.verify(dataclasses.replace(certificate, route=(lower,)))


def test_softplus_and_gelu_as_targets_inherit_it():
    for target in ("softplus", "gelu", "silu"):
        assert jb.embedding("mish", target).upper <= 1.4028915


def test_functions_of_ones_own():
    def steep(z):
        import jax.numpy as jnp

        return jnp.logaddexp(1.5 * z, 0.0)

    c = jb.embedding_constant(steep, "relu", rel_gap=1e-6)
    assert 0 < c.lower <= c.upper <= c.lower * (1 + 1e-6)
    sigma = activation(steep)
    for w, b in ((1.0, 0.5), (3.0, 0.0), (6.0, -1.0)):
        assert norm_on_an_interval(sigma, 1, w, b) / (1 + w + abs(b)) <= c.upper


def test_bias_free():
    # the formula of others: max(int |f''|, (int |f''| + |f'(-inf) + f'(inf)|) / 2)
    for name, value in (("softplus", 1.0), ("tanh", 2.0), ("abs", 2.0), ("leaky_relu", 1.0)):
        found = jb.embedding_constant(name, "relu", weight="bias_free")
        assert found.lower - 1e-12 <= value <= found.upper + 1e-12
    assert bias_free_constant(activation("identity"), 1).upper == 1.0
    assert bias_free_constant(activation("sin"), 1).upper == math.inf


def test_bad_input():
    with pytest.raises(UsageError, match="from 1e-12 to 1"):
        jb.embedding_constant("silu", "relu", rel_gap=0.0)
    with pytest.raises(UsageError, match="'bias_free' for"):
        jb.embedding_constant("silu", "tanh", weight="bias_free")
    with pytest.raises(UsageError, match="'reach', or"):
        jb.embedding_constant("silu", "relu", weight="l1")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="s from 1 to 5"):
        sharp_constant("silu", 0)
    with pytest.raises(UsageError, match="an order from s"):
        sharp_constant("silu", 2, 1)
    assert sharp_constant("sin", 1) is None
    assert sharp_constant("relu", 1) is None


def test_the_build_resumes(tmp_path, capsys, monkeypatch):
    from jaxbarron.bounds.sharp import build_table

    few = [(activation("tanh"), 1, 1), (activation("sin"), 1, 1), (repu(2), 1, 1)]
    monkeypatch.setattr(build_table, "wanted", lambda: iter(few))
    free = [(activation("tanh"), "bias_free", 1), (activation("abs"), "l2", 1)]
    monkeypatch.setattr(build_table, "wanted_weights", lambda: iter(free))
    path = tmp_path / "table.json"
    assert main([], path) == 0
    first = path.read_text()
    monkeypatch.setattr(build_table, "build_entry", None)  # nothing is built twice
    monkeypatch.setattr(build_table, "build_weight_entry", None)
    assert main([], path) == 0
    assert path.read_text() == first
    assert main(["--check"], path) == 0
    path.write_text(first.replace('"lower":"0x1.', '"lower":"0x2.', 1))
    assert main(["--check"], path) == 1
    assert "[3/3]" in capsys.readouterr().err
