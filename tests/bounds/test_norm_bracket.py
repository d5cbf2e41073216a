"""The norm of a network between chords and lines."""

from __future__ import annotations

import numpy as np
import pytest

from jaxbarron.bounds.norm_bracket import norm_bracket
from jaxbarron.domains import Ball, Box
from jaxbarron.errors import ShapeError, UnreachableTargetError, UsageError
from jaxbarron.measures import ParticleMeasure
from jaxbarron.norms import norm


def network(n: int, d: int, seed: int = 0) -> ParticleMeasure:
    rng = np.random.default_rng(seed)
    return ParticleMeasure(rng.normal(size=(n, 1)), rng.normal(size=(n, d)), rng.normal(size=n))


@pytest.mark.parametrize("domain", [Ball(1.0), Ball(2.0, 1), Ball(0.5, np.inf),
                                    Box((-1, -1, 0), (1, 2, 3))])  # fmt: skip
def test_lower_is_below_upper_is_below_the_cost_of_the_measure(domain) -> None:
    mu = network(6, 3)
    found = norm_bracket(mu, "relu", domain=domain, chords=8)
    assert 0 < found.lower <= found.upper <= float(norm(mu, domain)) * (1 + 1e-6)
    assert len(found.line_brackets) == 6
    assert found.level == "float"


def test_one_line_is_exact_and_parallel_particles_cancel() -> None:
    u = np.array([0.6, -0.8])
    a, c, b = np.array([3.0, -3.0, 1.0]), np.array([1.0, 1.0, -2.0]), np.array([0.2, 0.2, 0.4])
    mu = ParticleMeasure(a[:, None], c[:, None] * u, b)
    found = norm_bracket(mu, "relu", chords=4)
    assert found.lower == pytest.approx(2.4, rel=1e-9)
    assert found.upper == pytest.approx(2.4, rel=1e-9)
    assert found.lines.shape == (1, 2)
    assert np.linalg.norm(found.chord) == pytest.approx(1.0)


def test_constants_join_a_line() -> None:
    # relu(x_1 - 1) vanishes on the unit ball; what is left is the constant relu(2) = 2
    mu = ParticleMeasure(np.ones((2, 1)), np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([-1.0, 2.0]))
    found = norm_bracket(mu, "relu", chords=0)
    assert found.upper == pytest.approx(2.0, rel=1e-8)
    assert found.lower == pytest.approx(2.0, rel=1e-8)


@pytest.mark.parametrize("s", [1, 2, 3])
@pytest.mark.parametrize("d", [2, 5])
def test_sums_of_particles_of_the_space_whose_norm_is_known(s: int, d: int) -> None:
    # Kinks on different hyperplanes that cut the ball: only a particle with its kink there has the
    # jump of the s-th derivative across one, so that none can be saved: sum |a| (|w| + |b|)^s.
    rng = np.random.default_rng(d)
    a, w = rng.normal(size=5), rng.normal(size=(5, d))
    w[1], a[1] = w[0] * 1.5, -a[0]  # parallel, of opposite weight, and not one hyperplane
    size = np.linalg.norm(w, axis=1)
    b = size * rng.uniform(-0.9, 0.9, 5)
    exact = float(np.sum(np.abs(a) * (size + np.abs(b)) ** s))
    found = norm_bracket(ParticleMeasure(a[:, None], w, b), f"repu({s})", target=f"repu({s})")
    assert found.lower <= exact * (1 + 1e-12)
    assert found.upper >= exact * (1 - 1e-12)
    assert found.upper == pytest.approx(exact, rel=1e-8)
    assert len(found.line_brackets) == 4
    # a planted fault: lines without the parallel particle are not the norm
    assert found.upper - found.line_brackets[0][1] < exact * (1 - 1e-3)


def test_in_one_dimension_it_is_the_exact_norm() -> None:
    mu = network(4, 1)
    found = norm_bracket(mu, "relu", domain=Box((-1.0,), (3.0,)))
    assert found.exact is not None
    assert found.gap < 1e-9
    assert found.upper <= float(norm(mu, Box((-1.0,), (3.0,)))) * (1 + 1e-6)


def test_bad_input() -> None:
    mu = network(3, 2)
    with pytest.raises(UnreachableTargetError, match="given: the target tanh"):
        norm_bracket(mu, "relu", target="tanh")
    with pytest.raises(UsageError, match="Heaviside"):
        norm_bracket(mu, "relu", target="heaviside")
    two = ParticleMeasure(np.ones((1, 2)), np.ones((1, 2)), np.zeros(1))
    with pytest.raises(ShapeError, match="2 outputs"):
        norm_bracket(two, "relu")


def test_rough_sources_have_an_infinite_norm() -> None:
    found = norm_bracket(network(3, 2), "relu", target="repu(2)", chords=0)
    assert found.upper == np.inf
