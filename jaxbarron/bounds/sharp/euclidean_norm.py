"""Norms and plans in the Euclidean weights in floats: guesses, proved elsewhere.

A particle is the interval (l, r) = (b - w, b + w); costs and weights are 2^(1/2) times those of
the particle (THEORY.md, Theorem Second-order cells).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from jaxbarron.activations import Activation
from jaxbarron.bounds.sharp.evidence import Plan
from jaxbarron.bounds.sharp.programs import plan_between
from jaxbarron.programs import evaluate_program

__all__ = ["FloatNorm"]

_ANGLES = 240
_BESIDE = 2.0**-36  # of an atom, for a step there
_INSIDE = (0.5, 0.7, 0.85, 0.95, 0.99)  # of an interval, where a plan is to have its places
_EDGES = 25
_POINTS, _SIZES = np.polynomial.legendre.leggauss(12)


class FloatNorm:
    """Norms in floats: the density part by quadrature, the excess as a maximum over one angle.

    The line of a representation is P, u a functional of its two values at the ends; for u of dual
    norm 1 the excess is the largest ``min over shares of <P, u>`` (Theorem Interval norm).
    """

    def __init__(self, sigma: Activation) -> None:
        self.sigma = sigma
        self.programs = [sigma.derivative(k).program if k else sigma.program for k in range(3)]
        self.atoms = [(k.location, k.jumps[1]) for k in sigma.kinks if len(k.jumps) > 1]
        self.kinks = [k.location for k in sigma.kinks]
        self.roots = self._roots()
        self.breaks = sorted({0.0, *self.kinks, *self.roots})

    def values(self, order: int, places: Any) -> Any:
        """A derivative of sigma."""
        found = evaluate_program(self.programs[order], np.asarray(places, float))
        return np.nan_to_num(np.asarray(found, float))

    def _roots(self) -> list[float]:
        side = np.geomspace(2.0**-10, 64.0, 3001)
        grid = np.concatenate([-side[::-1], side])
        values, found = self.values(2, grid), list[float]()
        for i in np.flatnonzero(values[:-1] * values[1:] < 0):
            low, high = float(grid[i]), float(grid[i + 1])
            if max(abs(values[i : i + 2])) < 1e-12 or any(low <= k <= high for k in self.kinks):
                continue
            sign = values[i]
            for _ in range(60):
                middle = (low + high) / 2
                if self.values(2, [middle])[0] * sign > 0:
                    low = middle
                else:
                    high = middle
            found.append((low + high) / 2)
        return found

    def density(self, left: float, right: float, turn: float = math.inf) -> tuple[Any, Any]:
        """Places and signed masses that stand for D on (left, right), cut at ``turn`` too."""
        edges = [left, *sorted({x for x in (*self.breaks, turn) if left < x < right}), right]
        panels: list[tuple[float, float]] = []
        for start, end in itertools.pairwise(edges):
            here = start
            while here < end:
                step = max(abs(here) / (4 if here >= 0 else 5), min(0.05, (right - left) / 40))
                after = end if here + 1.2 * step > end else here + step
                panels.append((here, after))
                here = after
        cells = np.array(panels)
        half, middle = np.diff(cells, axis=1) / 2, cells.mean(axis=1)[:, None]
        places = (middle + half * _POINTS).ravel()
        masses = self.values(2, places) * (half * _SIZES).ravel()
        inside = [(z, m) for z, m in self.atoms if left < z < right]
        places = np.append(places, [z for z, _ in inside])
        return places, np.append(masses, [m for _, m in inside])

    def norm(self, left: float, right: float) -> tuple[float, float, tuple[float, float]]:
        """``2^(1/2)`` times the density part and the excess; and u, or zeros."""
        places, masses = self.density(left, right)
        part = float(np.sum(np.abs(masses) * np.hypot(places - left, right - places)))
        excess, angle = self.excess(left, right)
        if excess <= 0:
            return part, 0.0, (0.0, 0.0)
        return part, excess, (math.cos(angle), math.sin(angle))

    def excess(self, left: float, right: float) -> tuple[float, float]:
        """The largest of ``min over shares of <P, u>``, maybe negative, and the angle of u."""
        angles = np.linspace(0, 2 * np.pi, _ANGLES + 1)[:-1]
        values = self._least(left, right, angles, self.density(left, right))
        top = int(np.argmax(values))
        best, where = float(values[top]), float(angles[top])
        if best <= -0.01 * (right - left):
            return best, where
        width = 2 * math.pi / _ANGLES

        def loss(angle: float) -> float:
            turn = _turn(left, right, angle)
            return -float(
                self._least(left, right, np.array([angle]), self.density(left, right, turn))[0]
            )

        found = minimize_scalar(
            loss, bounds=(where - width, where + width), method="bounded",
            options={"xatol": 1e-10, "maxiter": 60},
        )  # fmt: skip
        return -float(found.fun), float(found.x)

    def _least(self, left: float, right: float, angles: Any, density: tuple[Any, Any]) -> Any:
        places, masses = density
        at_left, at_right = self.values(0, [left, right]).tolist()
        u, v = np.cos(angles), np.sin(angles)
        turned = u[:, None] * (places - left) - v[:, None] * (right - places)
        value = u * (at_left - float(np.sum((places - left) * masses))) + v * at_right
        value = value - np.sum(np.maximum(-turned * masses, 0), axis=1)
        return value / np.where(u * v >= 0, 1.0, np.maximum(np.abs(u), np.abs(v)))

    def ratio(self, place: Any) -> float:
        """The norm over the weight, of (l, r)."""
        left, right = (float(x) for x in place)
        if not right > left:
            return 0.0
        part, excess, _ = self.norm(left, right)
        return (part + excess) / math.hypot(left, right)

    def plans(self, left: float, right: float) -> Iterator[Plan]:
        """Where the excess is 0, ones with little of a line, made for ever more of the interval.

        Then that of the best u.
        """
        excess, angle = self.excess(left, right)
        if excess <= 0:
            for inside in _INSIDE:
                plan = self._without_line(left * inside, right * inside)
                if plan is not None:
                    yield plan
        yield self._switched(left, right, angle)

    def _switched(self, left: float, right: float, angle: float) -> Plan:
        """Right particles where D times the functional's line is negative, left ones elsewhere."""
        u, v = math.cos(angle), math.sin(angle)
        turn = _turn(left, right, angle)
        cuts = sorted({x for x in (*self.breaks, turn) if left < x < right})
        atoms = dict(self.atoms)
        changes: list[tuple[float, int]] = []
        for start, end in itertools.pairwise([left, *cuts, right]):
            t = (start + end) / 2
            line = u * (t - left) - v * (right - t)
            if atoms.get(start):
                there = u * (start - left) - v * (right - start)
                changes.append((start - _BESIDE, int(there * atoms[start] < 0)))
                start += _BESIDE
            density = float(self.values(2, [t])[0])
            if density:
                changes.append((start, int(line * density < 0)))
        steps: list[tuple[float, float, float]] = []
        share = 0
        for place, after in changes:
            if after != share:
                step = (0.0, -1.0) if place == left else (place, 0.0)
                steps.append((*step, float(after - share)))
                share = after
        if share == 0:
            steps.append((0.0, 1.0, 1.0))
        return Plan(tuple(steps))

    def _without_line(self, left: float, right: float) -> Plan | None:
        edges = np.linspace(left, right, _EDGES)
        edges = np.unique([*edges, *(x for x in self.roots if left < x < right)])
        found = plan_between(self.sigma, edges, max(abs(left), abs(right)))
        return None if found is None else found.plan


def _turn(left: float, right: float, angle: float) -> float:
    """Where the functional's line of a kink changes its sign."""
    u, v = math.cos(angle), math.sin(angle)
    return (u * left + v * right) / (u + v) if u + v else math.inf
