"""The replaced activation ``kappa(z) = sum_k c_k tau(alpha_k z + beta_k)``, exactly as stored.

For ``tau = RePU_s`` it is a spline, with exact rational knots and exact polynomials between them;
for any other tau, tau's own program is run at ``alpha_k z + beta_k``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flint

from jaxbarron.balls.envelopes import HalfLine, TailPolynomial, Unknown
from jaxbarron.balls.series import LocalSeries, known_coefficients, local_series
from jaxbarron.balls.tails import linear_argument, tail_jet
from jaxbarron.programs import Program

__all__ = ["Composite", "Particle", "Replacement", "Spline", "exact_particles"]


@dataclass(frozen=True, eq=False)
class Particle:
    """``weight * tau(scale * z + shift)``; exact rationals."""

    weight: Any
    scale: Any
    shift: Any


def exact_particles(weights: Any, scales: Any, shifts: Any) -> list[Particle]:
    """The particles of three vectors of doubles, as the rationals that they are."""
    columns = [
        [flint.fmpq(*float(x).as_integer_ratio()) for x in column]
        for column in (weights, scales, shifts)
    ]
    return [Particle(*numbers) for numbers in zip(*columns, strict=True)]


class Replacement(ABC):
    """A function of z that is smooth between its knots."""

    particles: Sequence[Particle]
    knots: list[Any]  # exact rationals, ascending, without repetition

    @abstractmethod
    def series(self, piece: int, ball: Any, length: int) -> LocalSeries:
        """Taylor coefficients over a ball in piece ``piece``: between knots piece - 1 and piece."""

    @abstractmethod
    def tail(self, half: HalfLine, side: int, order: int) -> list[TailPolynomial] | Unknown:
        """``kappa^(k) / k!``, k <= order, at z = side * x for x on the half line."""


class Spline(Replacement):
    """``tau = RePU_s``: the polynomials are rational, nothing is rounded."""

    def __init__(self, particles: Sequence[Particle], s: int) -> None:
        self.particles = particles
        self.s = s
        current = flint.fmpq_poly([])
        jumps: dict[Any, Any] = {}
        for particle in particles:
            power = flint.fmpq_poly([particle.shift, particle.scale]) ** s * particle.weight
            if particle.scale == 0:
                current += power if particle.shift > 0 else 0
                continue
            knot = -particle.shift / particle.scale
            jumps.setdefault(knot, flint.fmpq_poly([]))
            if particle.scale > 0:
                jumps[knot] += power
            else:
                current += power
                jumps[knot] -= power
        self.knots = sorted(jumps)
        self.polynomials = [current]
        for knot in self.knots:
            current = current + jumps[knot]
            self.polynomials.append(current)

    def series(self, piece: int, ball: Any, length: int) -> LocalSeries:
        """Exact Taylor shift to the midpoint, then a series in the offset."""
        middle = ball.mid().fmpq()
        if self.s == 0 and ball.is_exact() and middle in self.knots[max(piece - 1, 0) : piece + 1]:
            # At a jump the value is what RePU_0(0) = 0 makes it, on neither side's polynomial.
            return LocalSeries([flint.arb(self.value(middle))] * length, False, False)
        shifted = self.polynomials[piece](flint.fmpq_poly([middle, 1]))
        coefficients = [flint.arb(c) for c in shifted.coeffs()]
        if not ball.is_exact():
            offset = flint.arb_series([ball - ball.mid(), 1], prec=length)
            result = flint.arb_series([], prec=length)
            for c in reversed(coefficients):
                result = result * offset + c
            coefficients = known_coefficients(result, length)
        coefficients += [flint.arb(0)] * (length - len(coefficients))
        return LocalSeries(coefficients[:length], True, False)

    def value(self, z: Any) -> Any:
        """The exact value at a rational point."""
        total = flint.fmpq(0)
        for particle in self.particles:
            inner = particle.scale * z + particle.shift
            if inner > 0:
                total += particle.weight * inner**self.s
        return total

    def tail(self, half: HalfLine, side: int, order: int) -> list[TailPolynomial] | Unknown:
        """The outermost polynomial; the half line must start beyond all knots."""
        current = self.polynomials[-1 if side > 0 else 0]
        jet: list[TailPolynomial] = []
        for k in range(order + 1):
            mirrored = current(flint.fmpq_poly([0, side]))
            jet.append(half.polynomial(mirrored.coeffs()))
            current = current.derivative() / (k + 1)
        return jet


def _affine_image(ball: Any, scale: Any, shift: Any) -> Any:
    """``scale * ball + shift``, exact where the radius stays a power of two.

    Plain ball arithmetic would widen it by its last bit: tiles flush with a kink would straddle it.
    """
    middle = ball.mid().fmpq() * scale + shift
    radius = ball.rad().fmpq() * abs(scale)
    if radius.p not in (0, 1) or int(radius.q).bit_count() != 1:
        return flint.arb(middle) + flint.arb(0, flint.arb(radius).upper())
    exponent = 1 - int(middle.q).bit_length()
    return flint.arb((middle.p, exponent), (radius.p, 1 - int(radius.q).bit_length()))


class Composite(Replacement):
    """Any tau, through its program; ``kinks`` are those of tau that are known."""

    def __init__(
        self, particles: Sequence[Particle], program: Program, kinks: Sequence[float]
    ) -> None:
        self.particles = particles
        self.program = program
        self.kinks = [float(k) for k in kinks]
        places = [flint.fmpq(*float(k).as_integer_ratio()) for k in kinks]
        self.knots = sorted(
            {(k - p.shift) / p.scale for k in places for p in particles if p.scale != 0}
        )
        self._weights = [flint.arb(p.weight) for p in particles]

    def series(self, piece: int, ball: Any, length: int) -> LocalSeries:
        """The sum over the particles."""
        total = [flint.arb(0)] * length
        smooth, open_ends = True, False
        for weight, particle in zip(self._weights, self.particles, strict=True):
            inner = _affine_image(ball, particle.scale, particle.shift)
            argument = flint.arb_series([inner, flint.arb(particle.scale)], prec=length)
            found = local_series(self.program, argument, ball)
            total = [t + weight * c for t, c in zip(total, found.coefficients, strict=True)]
            smooth, open_ends = smooth and found.smooth, open_ends or found.open_ends
        return LocalSeries(total, smooth, open_ends)

    def tail(self, half: HalfLine, side: int, order: int) -> list[TailPolynomial] | Unknown:
        """The sum of the particles' tails."""
        total = [half.constant(flint.fmpq(0))] * (order + 1)
        for particle in self.particles:
            argument = linear_argument(half, side, particle.scale, particle.shift, order)
            found = tail_jet(self.program, half, argument)
            if isinstance(found, Unknown):
                return found
            weight = half.constant(particle.weight)
            total = [
                half.add(t, half.multiply(weight, f)) for t, f in zip(total, found, strict=True)
            ]
        return total
