"""What is asked of the norm on an interval: a function of y in [-1, 1] as a shallow network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from jaxbarron.activations import Activation, activation
from jaxbarron.bounds.interval_edges import derivative_program, resolving_points, rough_kink
from jaxbarron.errors import DomainError, ShapeError, UsageError
from jaxbarron.measures import ParticleMeasure
from jaxbarron.programs import evaluate_program

__all__ = ["Problem", "Source", "check_exact", "problem_of"]

Source = str | Activation | Callable[[Any], Any] | ParticleMeasure


@dataclass(frozen=True, eq=False)
class Problem:
    """``f(y) = sum_i a_i sigma(w_i y + b_i)`` on [-1, 1].

    Attributes:
        sigma: the activation.
        weights: the a_i, NumPy doubles.
        spreads: the w_i.
        offsets: the b_i.
    """

    sigma: Activation
    weights: np.ndarray
    spreads: np.ndarray
    offsets: np.ndarray

    @property
    def network(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three arrays."""
        return self.weights, self.spreads, self.offsets

    @property
    def kinks(self) -> bool:
        """Whether the activation has kinks."""
        return bool(self.sigma.kinks) or self.sigma.homogeneity is not None

    def neurons(self) -> list[Problem]:
        """One network of one neuron for each."""
        return [
            Problem(self.sigma, *(v[i : i + 1] for v in self.network))
            for i in range(self.weights.size)
        ]

    def terms(self, order: int, points: np.ndarray) -> float:
        """``sum_i max |a_i w_i^order sigma^(order)|`` over these points y."""
        a, w, b = self.network
        values = evaluate_program(
            derivative_program(self.sigma, order), np.multiply.outer(points, w) + b
        )
        return float(np.sum(np.abs(a * w**order) * np.abs(values).max(axis=0)))

    def largest(self, order: int, count: int) -> float:
        """``sum_i |a_i w_i^order| max |sigma^(order)|`` over arguments up to ``|w_i| + |b_i|``."""
        a, w, b = self.network
        z = np.linspace(-1, 1, count)[:, None] * (np.abs(w) + np.abs(b))
        values = np.abs(evaluate_program(derivative_program(self.sigma, order), z))
        return float(np.sum(np.abs(a * w**order) * values.max(axis=0)))

    def resolving_grid(self, even: int) -> np.ndarray:
        """So many points of [-1, 1], evenly, and those where sigma at a unit scale is resolved."""
        used = self.spreads != 0
        w, b = self.spreads[used, None], self.offsets[used, None]
        own = ((resolving_points() - b) / w).reshape(-1)
        return np.unique(np.concatenate([np.linspace(-1, 1, even), own[np.abs(own) < 1]]))

    def derivative(self, order: int, points: np.ndarray, beside: float = 0.0) -> np.ndarray:
        """f^(order) at points of any shape, in NumPy doubles.

        ``beside`` moves the argument of each neuron to the right in y, by so much of its size.
        """
        a, w, b = self.network
        z = np.multiply.outer(points, w) + b + beside * np.sign(w) * (np.abs(w) + np.abs(b))
        return evaluate_program(derivative_program(self.sigma, order), z) @ (a * w**order)

    def single(self) -> tuple[Activation, float, float]:
        """The same function as one particle ``tau(w y + b)`` of weight 1, w >= 0, up to a mirror.

        For a network tau is the network itself, w = 1 and b = 0.

        Raises:
            UsageError: a network of an activation with kinks: their places are no floats.
        """
        a, w, b = self.network
        if a.size == 1 and a[0] == 1:
            return self.sigma, abs(float(w[0])), float(b[0])
        if self.kinks:
            raise UsageError(
                f"given: a network of {self.sigma.name} at the level 'rigorous'; expected: one "
                "particle of weight 1, or a smooth activation: the kinks of a network lie at "
                "quotients of floats; do: use the level 'float'"
            )
        neurons = [(float(x), float(y), float(z)) for x, y, z in zip(a, w, b, strict=True) if x]
        fn = self.sigma.fn

        def network(y: Any) -> Any:
            return sum((x * fn(u * y + v) for x, u, v in neurons), 0.0 * y)

        name = f"{len(neurons)} neurons of {self.sigma.name}"
        return Activation(name, network, family=name), 1.0, 0.0

    def rough(self, s: int) -> str:
        """Why the norm is infinite: a derivative of order below s that jumps inside; or empty."""
        for w, b in zip(self.spreads, self.offsets, strict=True):
            kink = rough_kink(self.sigma, s, b - abs(w), b + abs(w))
            if kink is not None:
                return f"the derivative of order {kink[1]} jumps at z = {kink[0]:.6g}"
        return ""


def problem_of(
    f: Source,
    sigma: str | Activation | None,
    spread: float,
    offset: float,
    interval: tuple[float, float],
) -> Problem:
    """``f(spread x + offset)`` for x in the interval, in the variable of [-1, 1].

    Raises:
        DomainError: an interval that is empty, a point, or not bounded; a spread or an offset that
            is not finite.
        UsageError: sigma without a measure, or a measure without sigma.
        ShapeError: a measure with several inputs or outputs.
    """
    low, high = (float(end) for end in interval)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise DomainError(
            f"given: the interval ({low}, {high}); expected: finite ends, the first below the "
            "second; do: pass the least and the largest input"
        )
    if not (math.isfinite(spread) and math.isfinite(offset)):
        raise DomainError(
            f"given: spread={spread}, offset={offset}; expected: finite numbers; do: pass the "
            "half-width of the interval and its centre, in the function's own argument"
        )
    half, centre = (high - low) / 2, (high + low) / 2
    spread, offset = spread * half, spread * centre + offset
    if not isinstance(f, ParticleMeasure):
        if sigma is not None:
            raise UsageError(
                "given: sigma with a function that is no measure; expected: sigma for a "
                "ParticleMeasure only; do: leave it out"
            )
        return Problem(activation(f), np.ones(1), np.full(1, spread), np.full(1, offset))
    if sigma is None:
        raise UsageError(
            "given: a measure without its activation; expected: sigma=...; do: e.g. sigma='tanh'"
        )
    if f.inputs != 1 or f.outputs != 1:
        raise ShapeError(
            f"given: a measure with {f.inputs} inputs and {f.outputs} outputs; expected: one of "
            "each; do: restrict it to a line, and take one output"
        )
    a, w, b = (np.asarray(v, np.float64).reshape(-1) for v in (f.weights, f.directions, f.offsets))
    return Problem(activation(sigma), a, w * spread, w * offset + b)


def check_exact(
    problem: Problem, f: Source, spread: float, offset: float, interval: tuple[float, float]
) -> None:
    """That :func:`problem_of` rounded nothing: what is proved is about the function asked for.

    Raises:
        UsageError: the half-width, the centre, or a product with them, is no float.
    """
    low, high = (Fraction(float(end)) for end in interval)
    half, centre = Fraction(spread) * (high - low) / 2, Fraction(spread) * (high + low) / 2
    centre += Fraction(offset)
    inner = [(Fraction(1), Fraction(0))]
    if isinstance(f, ParticleMeasure):
        arrays = (np.asarray(v, np.float64).reshape(-1) for v in (f.directions, f.offsets))
        inner = [
            (Fraction(w), Fraction(b)) for w, b in zip(*(a.tolist() for a in arrays), strict=True)
        ]
    found = zip(problem.spreads.tolist(), problem.offsets.tolist(), strict=True)
    for (w, b), (mine, place) in zip(inner, found, strict=True):
        if not (Fraction(mine) == w * half and Fraction(place) == w * centre + b):
            raise UsageError(
                f"given: interval={interval}, spread={spread}, offset={offset} at the level "
                "'rigorous'; expected: a half-width and a centre, times the spread and the "
                "directions, that are floats, so that nothing is rounded; do: choose ends of fewer "
                "digits, such as multiples of 2**-10, or the level 'float'"
            )
