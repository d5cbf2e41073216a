"""What a monomial costs: exact representations, and linear programs over all particles."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy.optimize import linprog

from jaxbarron.bounds import polynomial_cost as module
from jaxbarron.bounds.polynomial_cost import monomial_particles, polynomial_cost
from jaxbarron.errors import UsageError

PAIRS = [(k, s) for s in range(9) for k in range(s + 1)] + [(1, 16), (7, 16), (8, 13)]
POINTS = [Fraction(n, 12) for n in range(-12, 13)] + [Fraction(1, 997), Fraction(-355, 356)]


def represented(particles, s, y):
    total = Fraction(0)
    for c, a, b in particles:
        z = a * y + b
        total += c * (z**s if z > 0 else 0)
    return total


@pytest.mark.parametrize(("k", "s"), PAIRS)
def test_the_representation_is_exact(k, s):
    particles = monomial_particles(k, s)
    # y = 0 with s = 0 aside, 0**0 = 1 as in the monomial
    assert all(represented(particles, s, y) == y**k for y in POINTS)
    cost = sum(abs(c) * (abs(a) + abs(b)) ** s for c, a, b in particles)
    assert polynomial_cost(k, s) == cost
    assert all(abs(a) + abs(b) == 1 for _, a, b in particles)


def least_cost(k, s, count=2000):
    """The linear program over powers (beta + alpha y)^s, in the coefficients of the polynomials.

    A power costs 1 where it has no kink inside, else 2.  A representation with kinks inside can be
    gathered into such powers at no greater cost (Theorem Monomial cost).
    """
    a = np.union1d(np.linspace(0, 1, count + 1), [float(d) for d in module._directions(max(s, 1))])
    slopes, offsets = np.concatenate([a, -a]), np.concatenate([1 - a, 1 - a])
    rows = np.array([comb(s, j) * slopes**j * offsets ** (s - j) for j in range(s + 1)])
    price = np.where(slopes**2 <= offsets**2, 1.0, 2.0)
    wanted = np.arange(s + 1) == k
    found = linprog(
        np.concatenate([price, price]), A_eq=np.hstack([rows, -rows]), b_eq=wanted.astype(float),
        bounds=(0, None), method="highs",
    )  # fmt: skip
    assert found.status == 0
    # by duality: no representation over this set costs less
    multipliers = found.eqlin.marginals
    assert np.all(np.abs(multipliers @ rows) <= price * (1 + 1e-7))
    return float(multipliers[k])


@pytest.mark.parametrize(("k", "s"), [(k, s) for s in range(1, 8) for k in range(s + 1)])
def test_near_the_linear_program_and_never_below(k, s):
    least = least_cost(k, s)
    cost = float(polynomial_cost(k, s))
    assert cost >= least * (1 - 1e-6)
    assert cost <= least * (1 + (1e-5 if s <= 5 else 0.06))


@pytest.mark.parametrize(("k", "s"), [(k, s) for s in (1, 2, 3) for k in range(s + 1)])
def test_particles_with_kinks_inside_do_not_help(k, s):
    """The same with every particle (alpha y + beta)_+^s on its own, at points of [-1, 1]."""
    a = np.union1d(np.linspace(-1, 1, 161), [0.298, -0.298])
    slopes = np.concatenate([a, a])
    offsets = np.concatenate([1 - np.abs(a), np.abs(a) - 1])
    # equality between the kinks holds for a piecewise polynomial if it holds at s + 1 points each
    kinks = np.unique(np.clip(-offsets / np.where(slopes == 0, 1, slopes), -1, 1))
    ends = np.unique(np.concatenate([[-1.0, 1.0], kinks]))
    inside = [ends[:-1] + np.diff(ends) * x for x in (np.arange(s + 1) + 0.5) / (s + 1)]
    y = np.sort(np.concatenate(inside))
    rows = np.maximum(np.outer(y, slopes) + offsets, 0.0) ** s
    found = linprog(
        np.ones(2 * len(slopes)), A_eq=np.hstack([rows, -rows]), b_eq=y**k, bounds=(0, None),
        method="highs",
    )  # fmt: skip
    assert found.status == 0
    assert float(polynomial_cost(k, s)) == pytest.approx(found.fun, rel=2e-4)


def test_known_costs():
    # the constant is one particle; z = relu(z) - relu(-z); y = ((1 + y)/2)^2 - ((1 - y)/2)^2;
    # and 3 for y^2 in cubes is that of Theorem Spectral bridge
    known = {(0, 3): 1, (1, 1): 2, (1, 2): 2, (2, 2): 2, (2, 3): 3, (3, 3): 2}
    assert all(polynomial_cost(k, s) == value for (k, s), value in known.items())


def test_a_planted_fault_is_caught(monkeypatch):
    honest, wrong = module._solved, 1 + Fraction(1, 10**9)
    monkeypatch.setattr(module, "_solved", lambda *given: [c * wrong for c in honest(*given)])
    particles = monomial_particles(2, 5)
    assert not all(represented(particles, 5, y) == y**2 for y in POINTS)


@pytest.mark.parametrize(("k", "s"), [(-1, 2), (3, 2), (1, 0)])
def test_bad_input(k, s):
    with pytest.raises(UsageError, match=r"given: .*; expected: .*; do: "):
        polynomial_cost(k, s)
