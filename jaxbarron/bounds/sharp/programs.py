"""Plans and functionals by linear programs in floating point: guesses, proved elsewhere.

At one reach the least cost of the polynomial over all shares of the density is a linear program
(THEORY.md, Theorem Shares); its multipliers are the moments of Theorem Dual moments.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linprog

from jaxbarron.activations import Activation
from jaxbarron.bounds.polynomial_cost import polynomial_cost
from jaxbarron.bounds.sharp.evidence import Plan
from jaxbarron.programs import evaluate_program

__all__ = [
    "Found", "exceeded", "fixed_plan", "followed", "free_plan", "plan_between", "powers_at",
    "spanning",
]  # fmt: skip

_GRAIN = 2.0**-52  # shares are multiples of it, so that their differences are exact
_SNAP = 1e-7
_CELLS = 64
_COARSE = 12
_FASTEST = 2.0  # of a step, in reaches a reach
_NARROW = 2.0**-24  # of the reach: steps are no nearer to each other
_PLAIN = (math.inf, -1.0, 1.0, -0.5, 0.5, -2.0, 2.0, 0.25, -0.25)  # powers to fill up with


@dataclass(frozen=True)
class Found:
    """A plan, what its polynomial costs at the reach it was made for, and the multipliers."""

    plan: Plan
    excess: float
    moments: tuple[float, ...]


def fixed_plan(sigma: Activation, s: int, start: float, rho: float) -> Found | None:
    """A plan for all reaches above ``start``, its polynomial cheapest at ``rho``, in monomials."""
    best: Found | None = None
    for cells in (_COARSE, _CELLS):
        u = np.linspace(-1, 1, cells + 1)
        bend = max(1.0, start / 2)  # finer in the middle, where most activations bend
        edges = _allowed(sigma, s, start * np.sinh(u * math.asinh(bend)) / bend, start)
        found = _solve(sigma, s, rho, edges, None)
        if found is not None and (best is None or found.excess < 0.5 * best.excess):
            best = found
    return best


def plan_between(sigma: Activation, edges: Any, rho: float) -> Found | None:
    """A plan, s = 1, with steps at some of the ascending edges, its line the cheapest on rho."""
    return _solve(sigma, 1, rho, _allowed(sigma, 1, edges, rho), None)


def free_plan(sigma: Activation, s: int, rho: float, *, rounds: int = 2) -> Found | None:
    """A plan that moves with the reach, nearly the cheapest at ``rho``."""
    u = np.linspace(-1, 1, _CELLS + 1)
    bend = max(1.0, rho / 2)
    edges = _allowed(sigma, s, rho * np.sinh(u * math.asinh(bend)) / bend, rho)
    kinks = _first_kinks()
    found: Found | None = None
    for number in range(rounds):
        found = _solve(sigma, s, rho, edges, kinks)
        if found is None or number + 1 == rounds:
            return found
        places = np.array([c + t * rho for c, t, _ in found.plan.steps])
        width = 2 * rho / _CELLS / 8**number
        finer = [c + width * k / 8 for c in places for k in range(-8, 9)]
        edges = _allowed(sigma, s, np.concatenate([edges, finer]), rho)
        active = [t for t in found.plan.kinks if math.isfinite(t)]
        near = 0.06 / 8**number
        more = [t + near * k / 8 * max(1.0, t * t) for t in active for k in range(-8, 9)]
        more = np.concatenate([more, exceeded(found.moments, s)[0]])
        kinks = np.unique(np.concatenate([kinks, more]))
    return found


def _first_kinks() -> Any:
    inside = np.linspace(-1, 1, 33)
    outside = 1 / np.linspace(0.06, 0.94, 15)
    return np.concatenate([-outside, inside, outside, [np.inf]])


def exceeded(moments: tuple[float, ...], s: int) -> tuple[Any, float]:
    """Powers whose price the functional exceeds, or nearly does, and the largest ratio."""
    inside = np.linspace(-1, 1, 2001)
    outside = 1 / np.linspace(1e-3, 1, 1000)
    grid = np.concatenate([-outside, inside, outside[::-1]])
    rows, prices = powers_at(grid, s)
    ratio = np.abs(rows @ np.array(moments)) / prices
    peaks = (ratio[1:-1] >= ratio[:-2]) & (ratio[1:-1] >= ratio[2:]) & (ratio[1:-1] > 1 - 1e-4)
    found = np.flatnonzero(peaks) + 1
    found = found[np.argsort(-ratio[found])][:12]
    more: list[float] = []
    for i in found:
        left, middle, right = (float(u) for u in grid[i - 1 : i + 2])
        behind = (ratio[i] - ratio[i - 1]) / max(middle - left, 1e-300)
        ahead = (ratio[i + 1] - ratio[i]) / max(right - middle, 1e-300)
        bend = behind - ahead
        step = (ahead + behind) / bend * (right - left) / 4 if bend > 0 else 0.0
        more += [middle, min(max(middle + step, left), right)]
    return np.array(more), float(np.max(ratio))


def _allowed(sigma: Activation, s: int, edges: Any, end: float) -> Any:
    """Edges from -end to end, on a grid of dyadic fractions of it, off the atoms of D."""
    fractions = np.unique(np.round(np.clip(edges / end, -1, 1) / _NARROW) * _NARROW)
    places = [k.location for k in sigma.kinks if any(k.jumps[: s + 1])]
    near = [np.abs(fractions * end - place) < _NARROW * end / 2 for place in places]
    inner = ~np.any(near, axis=0) if near else np.ones(len(fractions), bool)
    return fractions[inner | (np.abs(fractions) == 1)] * end


@functools.lru_cache(maxsize=256)
def _derivatives(sigma: Activation, s: int) -> tuple[Any, ...]:
    return tuple(sigma.derivative(k).program if k else sigma.program for k in range(s + 1))


def _taylor(sigma: Activation, s: int, places: Any, rho: float) -> Any:
    """Rows: the Taylor polynomials at the places, in powers of y = z/rho."""
    jets = [
        np.nan_to_num(np.asarray(evaluate_program(p, places), float)) / math.factorial(k)
        for k, p in enumerate(_derivatives(sigma, s))
    ]
    rows = np.zeros((len(places), s + 1))
    for j, jet in enumerate(jets):
        for k in range(j + 1):
            rows[:, k] += math.comb(j, k) * jet * (-places) ** (j - k) * rho**k
    return rows


def _solve(sigma: Activation, s: int, rho: float, edges: Any, kinks: Any) -> Found | None:
    """The least cost over all shares that change at the edges; in monomials without kinks."""
    taylor = _taylor(sigma, s, edges, rho)
    changes = taylor[:-1] - taylor[1:]
    count = len(changes)
    if kinks is None:
        powers = np.eye(s + 1)
        prices = np.array([float(polynomial_cost(k, s)) for k in range(s + 1)])
    else:
        powers, prices = powers_at(kinks, s)
    # a share of each cell in [0, 1]; each power with either sign
    matrix = np.hstack([-changes.T, powers.T, -powers.T])
    costs = np.concatenate([np.zeros(count), prices, prices])
    bounds = [(0.0, 1.0)] * count + [(0.0, None)] * (2 * len(powers))
    result = linprog(costs, A_eq=matrix, b_eq=taylor[-1], bounds=bounds, method="highs")
    if result.status != 0:
        return None
    shares = np.array(result.x[:count])
    if kinks is None:
        shares = _polished(shares, changes, taylor[-1], float(result.fun), prices)
    shares = np.where(shares < _SNAP, 0, np.where(shares > 1 - _SNAP, 1, shares))
    moments = tuple(float(m) for m in result.eqlin.marginals)
    excess = max(float(result.fun), 0.0)
    if kinks is None:
        around = np.concatenate([[0.0], np.round(shares / _GRAIN) * _GRAIN, [1.0]])
        steps = tuple(
            (float(c), 0.0, float(b - a))
            for c, a, b in zip(edges, around[:-1], around[1:], strict=True)
            if a != b
        )
        return Found(Plan(steps), excess, moments)
    sizes = np.abs(result.x[count : count + len(powers)] - result.x[count + len(powers) :])
    used = np.flatnonzero(sizes > 1e-12 * max(1.0, float(np.sum(sizes))))
    switches = _switches(edges, shares)
    steps = followed(sigma, s, rho, switches, powers[used])
    return Found(Plan(steps, spanning(kinks, sizes, powers)), excess, moments)


def _switches(edges: Any, shares: Any) -> list[tuple[float, int]]:
    """Where a share of 0 or 1 only would change, and by how much, to the same effect at best."""
    found: list[tuple[float, int]] = []
    level, start = 0, 0
    for i in [*(int(i) for i in np.flatnonzero((shares == 0) | (shares == 1))), len(shares)]:
        after = 1 if i == len(shares) else int(shares[i])
        if level == after and i == start:
            start = i + 1
            continue
        left, right = float(edges[start]), float(edges[i])
        widths, run = np.diff(edges[start : i + 1]), shares[start:i]
        mass = float(np.sum(widths * run))  # on right particles between the two levels
        if level != after:
            place = right - mass if after == 1 else left + mass
            found.append((place, after - level))
        elif i > start:
            inner = mass if level == 0 else right - left - mass
            middle = float(np.sum(widths * np.abs(run - level) * (edges[start:i] + widths / 2)))
            middle = middle / inner if inner > 0 else left
            found += [(middle - inner / 2, 1 - 2 * level), (middle + inner / 2, 2 * level - 1)]
        level, start = after, i + 1
    return found


def followed(
    sigma: Activation, s: int, rho: float, switches: Sequence[tuple[float, float]], powers: Any
) -> tuple[tuple[float, float, float], ...]:
    """The switches as functions c + t rho along which the polynomial stays in the used powers.

    Newton's method at two reaches, the steps of least norm; the ends stay at the ends.
    """
    places = np.array([c for c, _ in switches])
    changes = np.array([float(a) for _, a in switches])
    ends = np.abs(np.abs(places) - rho) <= 1e-9 * rho
    inner = ~ends
    for kink in sigma.kinks:
        inner &= np.abs(places - kink.location) > 1e-9 * rho
    speeds = np.where(ends, np.sign(places), 0.0)
    normal = _complement(powers, s)
    if len(normal) and inner.any():
        near = rho * (1 + 2.0**-10)
        here = _newton(sigma, s, rho, places, changes, inner, normal)
        there = _newton(sigma, s, near, here + speeds * (near - rho), changes, inner, normal)
        places = here
        speeds = np.where(inner, (there - here) / (near - rho), speeds)
        if np.max(np.abs(speeds)) > _FASTEST:
            # the polynomial hardly feels these steps: where D changes its sign, or nearly so
            places = np.array([c for c, _ in switches])
            turns = np.abs(_densities(sigma, s, places)) <= 1e-9
            speeds = np.where(ends, np.sign(places), np.where(inner & ~turns, places / rho, 0.0))
    order = np.argsort(places, kind="stable")
    steps: list[tuple[float, float, float]] = []
    for i in order:
        speed = round(float(speeds[i]) * 2.0**30) / 2.0**30
        start = 0.0 if ends[i] else float(places[i]) - speed * rho
        steps.append((start, speed, float(changes[i])))
    return tuple(steps)


def _densities(sigma: Activation, s: int, places: Any) -> Any:
    top = _derivatives(sigma, s + 1)[-1]
    return np.nan_to_num(np.asarray(evaluate_program(top, places), float))


def _complement(powers: Any, s: int) -> Any:
    """Rows orthogonal to the powers."""
    if len(powers) == 0:
        return np.eye(s + 1)
    u, sizes, _ = np.linalg.svd(powers.T, full_matrices=True)
    rank = int(np.sum(sizes > 1e-10 * sizes[0]))
    return u[:, rank:].T


def _newton(
    sigma: Activation, s: int, rho: float, places: Any, changes: Any, inner: Any, normal: Any
) -> Any:
    places = places.copy()
    for _ in range(8):
        value = normal @ (changes @ _taylor(sigma, s, places, rho))
        density = _densities(sigma, s, places)
        slopes = np.stack(
            [
                changes * density / math.factorial(s) * math.comb(s, k) * (-places) ** (s - k)
                * rho**k
                for k in range(s + 1)
            ]
        )  # fmt: skip
        step = np.linalg.lstsq((normal @ slopes)[:, inner], -value, rcond=1e-10)[0]
        limit = 0.05 * rho
        moved = places[inner] + np.clip(step, -limit, limit)
        places[inner] = np.clip(moved, -rho, rho)
    return places


def powers_at(kinks: Any, s: int) -> tuple[Any, Any]:
    """Rows: ((y - t)/(1 + |t|))^s in powers of y; and their prices."""
    finite = np.isfinite(kinks)
    t = np.where(finite, kinks, 0.0)
    rows = np.stack([math.comb(s, k) * (-t) ** (s - k) for k in range(s + 1)], axis=1)
    rows /= (1 + np.abs(t))[:, None] ** s
    rows[~finite] = np.eye(s + 1)[0]
    return rows, np.where(np.abs(kinks) >= 1, 1.0, 2.0)


def spanning(kinks: Any, sizes: Any, powers: Any) -> tuple[float, ...]:
    """s + 1 of the powers that span all polynomials: those that are used, and far ones."""
    used = [i for i in np.argsort(-sizes)[: powers.shape[1]] if sizes[i] > 1e-13]
    plain = [int(np.argmin(np.abs(1 / (kinks + 1e-300) - 1 / t))) for t in _PLAIN]
    for least in (1e-2, 1e-4, 1e-7):
        chosen: list[int] = []
        for i in [*used, *plain]:
            trial = powers[[*chosen, int(i)]]
            if np.linalg.svd(trial, compute_uv=False)[-1] > least:
                chosen.append(int(i))
            if len(chosen) == powers.shape[1]:
                return tuple(float(kinks[i]) for i in chosen)
    return ()


def _polished(shares: Any, changes: Any, target: Any, excess: float, prices: Any) -> Any:
    """The shares strictly between 0 and 1 moved so that the polynomial vanishes to rounding."""
    inner = (shares > 1e-6) & (shares < 1 - 1e-6)
    if excess > 1e-7 * float(np.sum(prices * np.abs(target))) + 1e-7 or not inner.any():
        return shares
    for _ in range(3):
        rest = -(target + shares @ changes)
        shares = shares.copy()
        shares[inner] += np.linalg.lstsq(changes[inner].T, rest, rcond=1e-12)[0]
        if np.any(shares < 0) or np.any(shares > 1):
            return np.clip(shares, 0, 1)
    return shares
