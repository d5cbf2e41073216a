"""Which parabolas: a smoothed convex problem in floating point.  Nothing here is believed.

The objective is that of :func:`jaxbarron.bounds.networks.parabolas.upper_bound` but for rounding,
with each maximum over a range taken over a grid, and maxima softened less and less.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.optimize

from jaxbarron.bounds.networks.bends import value_at
from jaxbarron.bounds.networks.joint import Joint, Multipliers, Neurons

__all__ = ["LARGEST", "best_multipliers"]

LARGEST = 1e100  # of a multiplier: beyond, sums could overflow
_GRID = 65
_SOFT = (0.1, 0.03, 0.01)  # of each neuron's own size; a third of the steps each
_SOFT_TOP = 0.2  # the same for eigenvalues


def best_multipliers(
    joint: Joint, row: Mapping[int, Any], steps: int, first: Multipliers | None = None
) -> Multipliers:
    """Multipliers of a small bound from above, after so many steps of L-BFGS.

    Args:
        joint: the network.
        row: the coefficients of one output.
        steps: 0: the start itself.
        first: where to start.
    """
    problem = _Problem(joint, row)
    if first is not None and not steps:
        return first
    at = problem.start() if first is None else problem.flat(first)
    # what is near its end already is not softened much again
    softs = _SOFT if first is None else _SOFT[-1:]
    for soft in softs if steps else ():
        # a step that goes too far overflows; the search then ends where it was before
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = scipy.optimize.minimize(
                problem.value, at, args=(soft,), jac=True, method="L-BFGS-B",
                options={"maxiter": max(1, steps // len(softs))},
            )  # fmt: skip
        if np.isfinite(found.fun) and np.isfinite(found.x).all():
            at = found.x
    return problem.multipliers(at)


class _Problem:
    """The replaced functions' neurons side by side, scaled to their own sizes."""

    def __init__(self, joint: Joint, row: Mapping[int, Any]) -> None:
        self.joint, self.row = joint, row
        self.nodes = [k for k in sorted(row) if joint.neurons[k].bend.errors is not None]
        self.all = sorted(row)
        self.place: dict[int, slice] = {}
        count = 0
        for k in self.all:
            self.place[k] = slice(count, count + len(row[k]))
            count += len(row[k])
        self.count = count
        neurons = [joint.neurons[k] for k in self.all]
        self.weights = np.concatenate([row[k] for k in self.all])
        grids = [_grid(x, joint) for x in neurons]
        self.t = np.concatenate([t for t, _ in grids], axis=1)
        self.error = np.concatenate([e for _, e in grids], axis=1)
        self.reach = np.concatenate([x.bend.reach for x in neurons])
        self.curve = np.concatenate([x.bend.curve for x in neurons])
        self.rate = np.concatenate([x.bend.rate for x in neurons])
        self.jacobian = np.concatenate([x.argument.jacobian for x in neurons])
        self.paths = np.zeros((count, count))
        for k, x in zip(self.all, neurons, strict=True):
            for j, path in x.argument.paths.items():
                self.paths[self.place[k], self.place[j]] = path
        self.free = np.zeros(count, bool)
        for k in self.nodes:
            self.free[self.place[k]] = True
        size = np.abs(self.weights) * np.max(np.abs(self.error), axis=0)
        size = np.maximum(size, 1e-9 * max(float(np.max(size, initial=0.0)), 1e-300))
        safe = np.where(self.reach > 1e-150, self.reach, 1.0)  # its square is a number
        self.size, self.by_line, self.by_square = size, size / safe, size / safe**2
        self.box = joint.symbols.group is None

    def start(self) -> Any:
        flat = np.zeros(2 * self.count + self.joint.symbols.count)
        flat[self.count : 2 * self.count] = 0.3
        return flat

    def flat(self, first: Multipliers) -> Any:
        """The inverse of :meth:`multipliers`, up to what overflows."""
        beta, lam = np.zeros(self.count), np.zeros(self.count)
        for k in self.nodes:
            beta[self.place[k]], lam[self.place[k]] = first.linear[k], first.quadratic[k]
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            parts = beta / self.by_line, lam / self.by_square, np.log(first.weights)
        return np.nan_to_num(np.concatenate(parts), posinf=0.0, neginf=0.0)

    def multipliers(self, flat: Any) -> Multipliers:
        with np.errstate(over="ignore"):
            beta, lam, weights = self._split(flat)
        beta, lam = (np.clip(x, -LARGEST, LARGEST) for x in (beta, lam))
        return Multipliers(
            {k: beta[self.place[k]].copy() for k in self.nodes},
            {k: lam[self.place[k]].copy() for k in self.nodes},
            weights / np.max(weights, initial=1e-300),
        )

    def _split(self, flat: Any) -> tuple[Any, Any, Any]:
        n = self.count
        beta, lam = flat[:n] * self.by_line, flat[n : 2 * n] * self.by_square
        return beta, lam, np.exp(np.clip(flat[2 * n :], -30, 30))

    def value(self, flat: Any, soft: float) -> tuple[float, Any]:
        beta, lam, weights = self._split(flat)
        beta = np.where(self.free, beta, 0.0)
        gamma = self.paths.T @ beta
        bend = gamma * self.curve / 2 + np.abs(gamma) * self.rate
        lam = np.where(self.free, lam, bend)
        f = -(self.weights + gamma) * self.error - beta * self.t + (bend - lam) * self.t**2
        top, width = f.max(axis=0), soft * self.size
        share = np.exp((f - top) / width)
        mass = share.sum(axis=0)
        share = share / mass
        total = float(np.sum(top + width * np.log(mass)))
        on_gamma = -(share * self.error).sum(axis=0)
        squares = (share * self.t**2).sum(axis=0)
        on_bend, on_lam = squares.copy(), -squares
        on_beta = -(share * self.t).sum(axis=0)
        on_beta, on_lam = np.where(self.free, on_beta, 0.0), np.where(self.free, on_lam, 0.0)
        line = beta @ self.jacobian
        if self.box:
            total += float(np.abs(line).sum())
            on_beta = on_beta + self.jacobian @ np.sign(line)
        else:
            norm = float(np.linalg.norm(line))
            total += norm
            on_beta = on_beta + self.jacobian @ (line / (norm or 1.0))
        part, lam_part, weight_part = self._quadratic(lam, weights, soft)
        total, on_lam = total + part, on_lam + lam_part
        part, lam_part = self._crossed(lam)
        total, on_lam = total + part, on_lam + lam_part
        # the parabolas of functions that stay follow gamma
        on_bend = np.where(self.free, on_bend, on_bend * 0.0 + on_lam)
        on_gamma = on_gamma + on_bend * (self.curve / 2 + np.sign(gamma) * self.rate)
        on_beta = on_beta + self.paths @ on_gamma
        keep = self.free.astype(float)
        slope = np.concatenate(
            [on_beta * self.by_line * keep, on_lam * self.by_square * keep, weight_part]
        )
        return total, slope

    def _quadratic(self, lam: Any, weights: Any, soft: float) -> tuple[float, Any, Any]:
        """The bound of the quadratic form, and its slopes in lam and in the log weights."""
        weights = weights if self.box else np.ones_like(weights)
        scaled = self.jacobian / np.sqrt(weights)
        values, vectors = _eigh((scaled * lam[:, None]).T @ scaled)
        total = weights.sum() if self.box else 1.0
        width = _SOFT_TOP * soft * max(float(np.max(np.abs(values), initial=0.0)), 1e-300)
        values0 = np.append(values, 0.0)  # never below zero
        share = np.exp((values0 - values0.max()) / width)
        top = float(values0.max() + width * np.log(share.sum()))
        share = (share / share.sum())[:-1]
        on_lam = total * ((scaled @ vectors) ** 2) @ share
        on_weights = -total * (vectors**2 @ (share * values)) + top * weights
        return top * total, on_lam, on_weights if self.box else np.zeros_like(on_weights)

    def _crossed(self, lam: Any) -> tuple[float, Any]:
        """The bound of what bends and quadratic forms share, and its slope in lam."""
        matrix = self.paths.T @ (lam[:, None] * self.jacobian)
        total, on_lam = 0.0, np.zeros(self.count)
        for k in self.all:
            part = matrix[self.place[k]]
            if not part.any():
                continue
            values, vectors = _eigh(part.T @ part)
            norm = float(np.sqrt(max(values[-1], 0.0))) or 1e-300
            right = vectors[:, -1]
            left = part @ right / norm
            factor = 2 * self.joint.symbols.length * self.joint.neurons[k].bent
            total += factor * norm
            on_lam += factor * (self.paths[:, self.place[k]] @ left) * (self.jacobian @ right)
        return total, on_lam


def _eigh(matrix: Any) -> tuple[Any, Any]:
    """Of a symmetric matrix; NaN where a step of the search went too far, which ends the search."""
    if not np.isfinite(matrix).all():
        return np.full(len(matrix), np.nan), np.full_like(matrix, np.nan)
    return np.linalg.eigh(matrix)


def _grid(x: Neurons, joint: Joint) -> tuple[Any, Any]:
    """Places on each range, and the error there."""
    t = np.linspace(-1.0, 1.0, _GRID)[:, None] * x.bend.reach
    if x.bend.errors is None:
        return t, np.zeros_like(t)
    node: Any = joint.network.nodes[x.node]
    z = x.argument.centre + t
    _, _, errors = node.cells.tables(float(z.min()), float(z.max()))
    return t, value_at(errors, z)[0]
