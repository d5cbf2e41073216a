"""The change of an output, bounded with one parabola for each neuron.

THEORY.md, Theorem Joint parabolas: :func:`upper_bound` is true for any multipliers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxbarron.bounds.networks.bends import norm_of
from jaxbarron.bounds.networks.expansions import Expansion, cautious_norm, expand_affine
from jaxbarron.bounds.networks.joint import Joint, Multipliers
from jaxbarron.bounds.networks.maps import Sparse
from jaxbarron.bounds.networks.quadratics import Bilinear
from jaxbarron.bounds.networks.rounding import allowance, raised

__all__ = ["row_of", "second_order", "upper_bound"]

_MOST = 8192


def row_of(joint: Joint, node: int, sums: Any) -> Expansion:
    """Sums over a node, with a sparse array (rows, n) of exact doubles, about the centre."""
    zero = np.zeros(sums.shape[0])
    terms = [(Sparse(sums.tocsr()), joint.expansions[node])]
    sizes = {k: x.bend.size for k, x in joint.neurons.items()}
    return expand_affine(terms, zero, zero, joint.symbols, sizes)


def second_order(joint: Joint, row: Mapping[int, Any], noise: float) -> float:
    """A bound of ``|sum_k C_k ((s - s0)(zeta' - zeta))|`` and of the noise: what slopes add.

    Args:
        joint: the network.
        row: the C_k of one output.
        noise: of the output's expansion.
    """
    total = 2 * noise
    forms = Bilinear()
    each = 0.0
    for k, weights in row.items():
        x = joint.neurons[k]
        bend, size, gap, norm = x.bend, np.abs(weights), x.gap, x.gap_norm
        curved = raised(size * np.abs(bend.curve), 4)
        tilted = raised(size * bend.tilt_rate, 4)
        resting = size * bend.tilt_rest
        farthest = raised(tilted * bend.reach + resting, 4)
        # the part of the mean slope that is linear in the input, the rest of the argument, and half
        # the difference itself, each times the difference ...
        signed = weights * bend.curve
        paths = x.argument.paths
        for j, path in paths.items():
            forms.add(None, j, x.argument.jacobian, signed, path)
            for i, other in paths.items():
                forms.add(i, j, other, signed, path)
        aside = curved * x.argument.noise
        total += 4 * float((x.straight + x.away + gap) @ aside)
        # ... for which there are norms of each node alone, too
        each += min(
            joint.stray(x.argument, curved) * norm,
            norm_of(curved * gap) * x.drift,
            float((curved * x.away) @ gap),
        )
        each += min(float(curved @ gap**2) / 2, float(np.max(curved, initial=0.0)) * norm**2 / 2)
        # what is no line in the slope
        strayed = float((tilted * gap) @ gap + resting @ gap)
        total += min(
            norm_of(farthest) * norm,
            norm_of(tilted * gap) * x.length + strayed,
            (joint.norm(x.argument, tilted) + norm_of(tilted * gap + resting)) * norm,
            float(farthest @ gap),
        )
    together = 0.0
    length = joint.symbols.length
    for (i, j), form in forms.norms().items():
        there = joint.neurons[j]
        if i is None:
            total += form * length * there.change_norm
        else:
            here = joint.neurons[i]
            together += form * (here.bent + here.change_norm / 2) * there.change_norm
    return float(raised(np.float64(total + min(each, together)), _MOST))


def upper_bound(joint: Joint, row: Mapping[int, Any], multipliers: Multipliers) -> float:
    """A bound of ``sum_k C_k (-e_k(zeta'_k))`` from above; inf where it is not finite.

    Args:
        joint: the network.
        row: the C_k of one output, for each function's node.
        multipliers: any; those of functions that are not replaced are found here.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        try:
            total = _upper_bound(joint, row, multipliers)
        except np.linalg.LinAlgError:  # a matrix that overflowed has no eigenvalues
            return float("inf")
    return total if np.isfinite(total) else float("inf")


def _upper_bound(joint: Joint, row: Mapping[int, Any], multipliers: Multipliers) -> float:
    symbols = joint.symbols
    order = sorted(row, reverse=True)
    drawn: dict[int, Any] = {k: np.zeros(len(row[k])) for k in order}  # gamma
    doubt: dict[int, Any] = {k: np.zeros(len(row[k])) for k in order}
    line, line_doubt = np.zeros(symbols.count), np.zeros(symbols.count)
    matrix = np.zeros((symbols.count, symbols.count))
    matrix_doubt = 0.0
    crossed: dict[int, tuple[Any, Any]] = {}
    squares, alone = Bilinear(), 0.0
    total = 0.0
    for k in order:
        x, weights = joint.neurons[k], row[k]
        bend, jacobian, noise = x.bend, x.argument.jacobian, x.argument.noise
        gamma = drawn[k]
        rested = np.abs(gamma) * bend.rate
        natural = gamma * (bend.curve / 2) + rested
        if bend.errors is None:
            beta, lam = np.zeros(len(weights)), natural
            peaks = 2.0**-48 * (np.abs(gamma * bend.curve) + rested) * bend.reach**2
        else:
            beta, lam = multipliers.linear[k], multipliers.quadratic[k]
            peaks = bend.errors.peak(x.argument.centre, -(weights + gamma), -beta, natural - lam)
            peaks = peaks + 2.0**-48 * (
                (np.abs(gamma * bend.curve) + rested + np.abs(lam)) * bend.reach**2
                + (np.abs(weights) + np.abs(gamma)) * bend.error
            )
        peaks = peaks + np.abs(gamma) * bend.rest + doubt[k] * bend.size
        peaks = peaks + (np.abs(weights) + np.abs(gamma)) * bend.jumps
        # a peak may be negative: what the sum loses is below its moduli's last bits
        total = _plus(total, float(np.sum(peaks)) + 2.0**-38 * float(np.sum(np.abs(peaks))))
        line = line + beta @ jacobian
        line_doubt = line_doubt + np.abs(beta) @ np.abs(jacobian)
        scaled = lam[:, None] * jacobian
        matrix = matrix + jacobian.T @ scaled
        moduli = np.abs(jacobian).T @ np.abs(scaled)
        matrix_doubt += norm_of(allowance(moduli, _MOST + 8).ravel())
        aside = np.abs(beta) @ noise + 4 * (np.abs(lam) * (x.straight + x.away)) @ noise
        total = _plus(total, float(raised(aside, _MOST)))
        positive = np.maximum(lam, 0.0)
        roots = np.sqrt(positive) * (1 + 2.0**-50)
        for j, path in x.argument.paths.items():
            drawn[j] = drawn[j] + beta @ path
            doubt[j] = doubt[j] + allowance(np.abs(beta) @ np.abs(path), _MOST)
            here = path.T @ scaled, np.abs(path).T @ np.abs(scaled)
            old = crossed.get(j, (0.0, 0.0))
            crossed[j] = old[0] + here[0], old[1] + here[1]
        strayed = joint.stray(x.argument, roots) ** 2
        alone += min(strayed * (1 + 2.0**-40), float(raised(positive @ x.away**2, _MOST)))
        for j, path in x.argument.paths.items():
            for i, other in x.argument.paths.items():
                if i <= j:
                    squares.add(i, j, other, lam, path)
    bent = {k: joint.neurons[k].bent for k in order}
    total = _plus(total, min(float(raised(np.float64(alone), _MOST)), squares.form(bent)))
    for j, (n, moduli) in crossed.items():
        x = joint.neurons[j]
        off = allowance(moduli, _MOST + 8)
        together = (cautious_norm(n) + norm_of(off.ravel())) * symbols.length * x.bent
        rows = raised(symbols.linear(n) + off.sum(axis=1), _MOST)
        apart = float(raised(rows @ x.bend.size, _MOST))
        total = _plus(total, 2 * min(together * (1 + 2.0**-40), apart))
    line_bound = symbols.linear(line[None])[0] + allowance(line_doubt, _MOST).sum()
    total = _plus(total, float(raised(line_bound, _MOST)))
    symmetric = matrix / 2 + matrix.T / 2
    return _plus(total, symbols.quadratic(symmetric, matrix_doubt * 1.01, multipliers.weights))


def _plus(total: float, part: float) -> float:
    """A bound of the sum from above, whatever its sign."""
    value = total + part
    return value + 2.0**-50 * (abs(total) + abs(part))
