"""Lower bounds on the norm at one reach, from moments (THEORY.md, Theorem Dual moments)."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import flint
import numpy as np

from jaxbarron.balls.dyadic import exact
from jaxbarron.bounds.density import rational
from jaxbarron.bounds.sharp.moments import AbsoluteMoments

__all__ = ["excess_from_moments", "is_in_the_body", "is_positive"]

_DEPTH = 64
_GRAIN = 2.0**-36  # of the reach: how near a root of Q the pieces come


def is_in_the_body(moments: tuple[float, ...], s: int) -> bool:
    """Whether ``|Q_M| <= 2 V`` on [-1, 1] and ``|Q_M| <= V`` outside, exactly."""
    exactly = [Fraction(m) for m in moments]
    if len(exactly) != s + 1:
        return False
    weight = [Fraction(math.comb(s, k)) for k in range(s + 1)]  # (1 + t)^s, either way round
    for side in (-1, 1):
        # Q(side t) in powers of t, and t^s Q(side / t)
        inside = [math.comb(s, j) * exactly[s - j] * (-side) ** j for j in range(s + 1)]
        for sign in (-1, 1):
            pairs = zip(weight, inside, strict=True)
            if not is_positive([2 * v + sign * q for v, q in pairs], Fraction(0), Fraction(1)):
                return False
            pairs = zip(weight, reversed(inside), strict=True)
            if not is_positive([v + sign * q for v, q in pairs], Fraction(0), Fraction(1)):
                return False
    return True


def is_positive(polynomial: list[Fraction], start: Fraction, end: Fraction) -> bool:
    """Whether a polynomial, constant first, is proved to be >= 0 on [start, end].

    By Bernstein coefficients and halving: exact, and false where undecided at the last depth.
    """
    degree = len(polynomial) - 1
    width = end - start
    shifted = [
        sum(
            (polynomial[j] * math.comb(j, k) * start ** (j - k) for j in range(k, degree + 1)),
            Fraction(0),
        )
        * width**k
        for k in range(degree + 1)
    ]
    first = [
        sum(
            (Fraction(math.comb(i, k), math.comb(degree, k)) * shifted[k] for k in range(i + 1)),
            Fraction(0),
        )
        for i in range(degree + 1)
    ]
    stack = [(first, 0)]
    while stack:
        row, depth = stack.pop()
        if all(c >= 0 for c in row):
            continue
        if row[0] < 0 or row[-1] < 0 or depth == _DEPTH:
            return False
        left, right = [row[0]], [row[-1]]
        while len(row) > 1:
            row = [(a + b) / 2 for a, b in itertools.pairwise(row)]
            left.append(row[0])
            right.append(row[-1])
        stack += [(left, depth + 1), (right[::-1], depth + 1)]
    return True


def excess_from_moments(moments: AbsoluteMoments, rho: Any, functional: tuple[float, ...]) -> Any:
    """``<T, M> - 1/s! int (sgn(D) Q_M)_- d|D|`` on [-rho, rho]: at least this beyond the density.

    A ball whose lower end is a lower bound; M is to lie in the body.
    """
    s, ball = moments.s, exact(rho)
    exactly = [rational(m) for m in functional]
    jet = moments.jet(ball, -1)
    total = flint.arb(0)
    for k in range(s + 1):
        inner = sum((math.comb(k, i) * exactly[i] for i in range(k + 1)), flint.fmpq(0))
        total += jet[k] * (ball**k if k else 1) * inner
    # rho^s Q_M(z/rho) in powers of z
    weights = [math.comb(s, j) * exactly[s - j] * (-1) ** j * rho ** (s - j) for j in range(s + 1)]
    for side in (-1, 1):
        along = [w * side**j for j, w in enumerate(weights)]
        total -= _paid(moments, side, rho, along)
    for place, mass in moments.atoms:
        if abs(place) < rho:
            value = sum((exact(place) ** j * w for j, w in enumerate(weights)), flint.arb(0))
            loss = -value * mass  # mass has the sign of the atom
            if not loss < 0:
                total -= loss.max(flint.arb(0))
    return total


def _paid(moments: AbsoluteMoments, side: int, rho: Any, weights: list[Any]) -> Any:
    """At least ``1/s! int over one half of (sgn(D) Q)_- |D|``, Q with these coefficients in |z|."""
    end = float(rho.p) / float(rho.q)
    polynomial = [Fraction(int(w.p), int(w.q)) for w in weights]
    cuts = {flint.fmpq(0), rho}
    found = np.roots([float(c) for c in reversed(polynomial)])
    for root in found[np.abs(found.imag) <= 1e-6 * np.maximum(1e-3, np.abs(found))].real:
        for shift in (-_GRAIN, _GRAIN):
            place = round((float(root) / end + shift) * 2.0**48)
            if 0 < place < 2**48:
                cuts.add(rho * flint.fmpq(place, 2**48))
    total = flint.arb(0)
    for start, stop, sign, slack in moments.signs(side):
        inside = [c for c in sorted(cuts) if start < exact(c) and exact(c) < stop]
        ends = [_within(start, rho, 1), *inside, _within(stop, rho, -1)]
        if sign == 0 or ends[0] >= ends[-1]:
            continue
        for a, b in itertools.pairwise(ends):
            if not a < b:
                continue
            pairs = zip(moments.on_one_side(side, a), moments.on_one_side(side, b), strict=True)
            shares = [y - x for x, y in pairs]
            low, high = Fraction(int(a.p), int(a.q)), Fraction(int(b.p), int(b.q))
            if not slack.is_zero():
                # where sign * D < 0, |D|/s! is at most the slack
                most = sum((abs(w) * exact(b) ** j for j, w in enumerate(weights)), flint.arb(0))
                total += slack * exact(b - a) * most
            against = sign is not None and is_positive([-sign * c for c in polynomial], low, high)
            with_it = sign is not None and is_positive([sign * c for c in polynomial], low, high)
            if against:
                total += abs(sum((w * m for w, m in zip(weights, shares, strict=True)),
                                 flint.arb(0)))  # fmt: skip
            elif not with_it:
                total += sum((abs(w) * abs(m) for w, m in zip(weights, shares, strict=True)),
                             flint.arb(0))  # fmt: skip
    return total


def _within(place: Any, rho: Any, side: int) -> Any:
    """The end of a stretch as a dyadic rational, a little outward (left for side 1); at most rho.

    Past the ball of a root, so that the moments are known there; what is counted twice is counted
    with its modulus.
    """
    end = place.mid().fmpq() - 2 * side * place.rad().fmpq()
    return min(max(end, flint.fmpq(0)), rho)
