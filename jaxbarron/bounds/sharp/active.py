"""Plans and functionals from the exact norm at one reach: guesses, proved elsewhere.

The maximiser M of Theorem Interval norm says where right particles carry the density, D Q_M > 0,
and which powers pay for the polynomial, those whose price ``|Q_M|`` meets (complementary
slackness).  A linear program on a grid comes only near both.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxbarron.activations import Activation
from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_evidence import evidence_of
from jaxbarron.bounds.interval_norm import interval_norm
from jaxbarron.bounds.sharp.evidence import Plan
from jaxbarron.bounds.sharp.programs import exceeded, followed, powers_at
from jaxbarron.programs import evaluate_program

__all__ = ["Norm", "active_plans", "norm_at"]

_MOST = 4  # RePU_s of the exact norm
_GRID = 4000
_BISECTIONS = 50
_BESIDE = 2.0**-40  # of the reach: how near a kink a share may change
_TOUCHED = 1e-9
_INDEPENDENT = 1e-9
_PLAIN = (0.5, -0.5, 2.0, -2.0)


@dataclass(frozen=True)
class Norm:
    """The norm of sigma on [-rho, rho] in floating point, and what it rests on.

    Attributes:
        lower: a float.
        moments: M.
        shares: of the atoms inside, in order: what right particles carry of them.
    """

    lower: float
    moments: tuple[float, ...]
    shares: tuple[float, ...]


@functools.lru_cache(maxsize=4096)
def norm_at(sigma: Activation, s: int, rho: float) -> Norm | None:
    """The norm at one reach; None where it is not known."""
    if s > _MOST:
        return None
    found = interval_norm(sigma, s, spread=rho)
    if found.found is None or not math.isfinite(found.lower):
        return None
    evidence = evidence_of(sigma, GaugeBody(s), rho, 0.0, found.found)
    inside = sorted((k for k in sigma.kinks if abs(k.location) < rho), key=lambda k: k.location)
    jumps = [k.jumps[s] if len(k.jumps) > s else 0.0 for k in inside]
    shares = [0.5 + v * float(np.sign(j)) for v, j in zip(evidence.atoms, jumps, strict=True)]
    return Norm(found.lower, evidence.moments, tuple(round(x * 2**40) / 2**40 for x in shares))


def active_plans(sigma: Activation, s: int, rho: float, end: float) -> list[Plan]:
    """Plans that M describes at ``rho``, to be used up to ``end``; none where there is no excess.

    They differ in the powers that are added to those M touches.
    """
    known = norm_at(sigma, s, rho)
    if known is None or not any(known.moments):
        return []
    switches: list[tuple[float, float]] = []
    before = 0.0
    for place, level in _levels(sigma, s, rho, known):
        if level != before:
            switches.append((place, level - before))
        before = level
    if before != 1:
        switches.append((rho, 1 - before))
    touched = exceeded(known.moments, s)[0]
    kinks = np.unique(np.concatenate([touched, [-1.0, 1.0, math.inf]]))
    rows, prices = powers_at(kinks, s)
    used = np.abs(rows @ np.array(known.moments)) / prices > 1 - _TOUCHED
    steps = followed(sigma, s, rho, switches, rows[used])
    found: list[Plan] = []
    for near in (0.25 * (end / rho - 1), 4 * (end / rho - 1)):
        for side in (1, -1):
            for first in np.flatnonzero(used):
                plan = Plan(steps, _spanning(kinks[used], float(kinks[first]), side, near, s))
                if plan.kinks and plan not in found:
                    found.append(plan)
    return found


def _spanning(used: Any, first: float, side: int, near: float, s: int) -> tuple[float, ...]:
    """The powers used and neighbours, ``first``'s first, at a price of second order.

    As one power moves, two with fixed places share it between them.  Outside and inside [-1, 1]
    prices differ: a neighbour lies on the same side of 1 and -1.
    """
    order = sorted((t for t in used if math.isfinite(t)), key=lambda t: t != first)
    beside: list[float] = []
    for t in order:
        step = near * max(1.0, t * t)
        away = math.copysign(step, t) if abs(t) == 1 else side * step
        if (abs(t + away) >= 1) == (abs(t) >= 1):
            beside.append(t + away)
    kinks = np.array([*used, *beside, math.inf, -1.0, 1.0, *_PLAIN])
    rows, _ = powers_at(kinks, s)
    chosen: list[int] = []
    for i in range(len(kinks)):
        trial = rows[[*chosen, i]]
        if np.linalg.svd(trial, compute_uv=False)[-1] > _INDEPENDENT:
            chosen.append(i)
        if len(chosen) == s + 1:
            return tuple(float(kinks[i]) for i in chosen)
    return ()


def _levels(sigma: Activation, s: int, rho: float, known: Norm) -> list[tuple[float, float]]:
    """(start, share) of the stretches of [-rho, rho]: 1 where D Q_M > 0, else 0; and of atoms."""
    weights = [math.comb(s, j) * known.moments[s - j] * (-1) ** j for j in range(s + 1)]
    program = sigma.derivative(s + 1).program

    def polynomial(z: Any) -> Any:
        return np.polynomial.polynomial.polyval(z / rho, weights)

    def share(z: Any) -> Any:
        density = np.nan_to_num(np.asarray(evaluate_program(program, z), float))
        return density * polynomial(z) > 0

    inside = sorted(k.location for k in sigma.kinks if abs(k.location) < rho)
    atoms = dict(zip(inside, known.shares, strict=True))
    cuts = [-rho, *inside, rho]
    found: list[tuple[float, float]] = []
    for start, end in itertools.pairwise(cuts):
        low = start
        if start in atoms:
            # an atom belongs to the stretch that begins a little before it
            low = start + _BESIDE * rho
            found.append((start - _BESIDE * rho, atoms[start]))
        grid = np.linspace(low, end, _GRID // (len(cuts) - 1) + 2)
        inner = (grid[:-1] + grid[1:]) / 2
        values = share(inner)
        found.append((float(low), float(values[0])))
        for i in np.flatnonzero(values[1:] != values[:-1]):
            a, b = float(inner[i]), float(inner[i + 1])
            for _ in range(_BISECTIONS):
                middle = (a + b) / 2
                same = bool(share(np.array([middle]))[0]) == bool(values[i])
                a, b = (middle, b) if same else (a, middle)
            found.append((a, float(values[i + 1])))
    return found
