"""The Taylor kernel: an activation as an integral of RePU_s particles around a point."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from jaxbarron.activations import Activation, activation
from jaxbarron.errors import DomainError, UnreachableTargetError, UsageError
from jaxbarron.kernels.polynomials import dominated_polynomial
from jaxbarron.measures import ParticleMeasure, add
from jaxbarron.programs import Program, evaluate_program

__all__ = ["taylor_kernel"]


def taylor_kernel(
    source: str | Activation, s: int, reach: float, *, centre: float = 0.0, nodes: int = 32
) -> ParticleMeasure:
    """The two-sided Taylor kernel from an activation to RePU_s on ``|z| <= reach``.

    With D = sigma^(s+1), a density plus atoms at kinks, and P the Taylor polynomial of degree s
    at the centre c,

        sigma(z) = P(z) + int_(t > c) D(t)/s! (z - t)_+^s dt
                        + (-1)^(s+1) int_(t < c) D(t)/s! (t - z)_+^s dt     on |z| <= reach

    (THEORY.md, Theorem Taylor kernel; Heeringa et al., arXiv 2305.15839).  The integrals become
    particles by Gauss-Legendre quadrature between the kinks; P becomes at most s + 1 dominated
    particles.  The quadrature error falls with ``nodes``; certify it with
    :func:`jaxbarron.kernel_certificate`.

    Args:
        source: an activation, smooth but for kinks in its derivatives of order >= s.
        s: 1, 2 or 3.
        reach: a finite number > 0.
        centre: the expansion point c, in ``[-reach, reach]``.
        nodes: quadrature nodes on each side of the centre, shared out between the kinks.

    Returns:
        A kernel of NumPy doubles.

    Raises:
        UnreachableTargetError: a derivative below order s jumps, so D is no measure.
        DomainError: the reach is not a finite number > 0, or the centre lies beyond it.
        UsageError: another s, or nodes < 1.

    Example:
        >>> taylor_kernel("tanh", 1, reach=4.0, nodes=8).particles
        18
    """
    sigma = activation(source)
    if s not in (1, 2, 3):
        raise UsageError(f"given: s={s}; expected: 1, 2 or 3; do: e.g. s=2")
    if nodes < 1:
        raise UsageError(f"given: nodes={nodes}; expected: at least 1; do: e.g. nodes=32")
    if not (np.isfinite(reach) and reach > 0 and abs(centre) <= reach):
        raise DomainError(
            f"given: reach={reach} and centre={centre}; expected: a finite reach > 0 and "
            "|centre| <= reach; do: give the largest |z| that the kernel must serve"
        )
    inside = [kink for kink in sigma.kinks if abs(kink.location) < reach]
    rough = [kink for kink in inside if any(kink.jumps[:s])]
    if rough:
        raise UnreachableTargetError(
            f"given: {sigma.name}, whose derivative of order below {s} jumps at "
            f"{rough[0].location:g}, into RePU_{s}; expected: an (s+1)-th derivative that is a "
            "measure; do: use a smaller s, or a spline kernel with a tolerance"
        )
    # An atom at the centre goes to the right: the Taylor polynomial is then the left one.
    left_of_centre = float(np.nextafter(centre, -np.inf))
    at_a_kink = any(kink.location == centre for kink in inside)
    point = left_of_centre if at_a_kink else centre
    taylor = [_derivative_at(sigma, j, point) / math.factorial(j) for j in range(s + 1)]
    kernel = dominated_polynomial(_expanded(np.array(taylor), centre), s, reach)
    breaks = [kink.location for kink in inside]
    density = sigma.derivative(s + 1).program
    for side in (-1, 1):
        t, mass = _quadrature(density, centre, side * reach, breaks, nodes)
        atoms = [k for k in inside if (k.location >= centre if side > 0 else k.location < centre)]
        t = np.concatenate([t, [k.location for k in atoms]])
        mass = np.concatenate([mass, [k.jumps[s] for k in atoms]]) / math.factorial(s)
        sign = 1.0 if side > 0 else (-1.0) ** (s + 1)
        keep = mass != 0
        if keep.any():
            count = int(keep.sum())
            kernel = add(
                kernel,
                ParticleMeasure(
                    sign * mass[keep, None], np.full((count, 1), float(side)), -side * t[keep]
                ),
            )
    return kernel


def _derivative_at(sigma: Activation, order: int, z: float) -> float:
    program = sigma.program if order == 0 else sigma.derivative(order).program
    return float(evaluate_program(program, np.float64(z)))


def _expanded(taylor: NDArray[np.float64], centre: float) -> NDArray[np.float64]:
    polynomial = np.polynomial.Polynomial([0.0])
    for j, coefficient in enumerate(taylor):
        polynomial = polynomial + coefficient * np.polynomial.Polynomial([-centre, 1.0]) ** j
    return np.asarray(polynomial.coef, np.float64)


def _quadrature(
    density: Program, start: float, end: float, breaks: list[float], nodes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes t and masses of ``density(t) dt`` between start and end, in either order."""
    low, high = min(start, end), max(start, end)
    if low == high:
        return np.zeros(0), np.zeros(0)
    cuts = [low, *sorted(b for b in set(breaks) if low < b < high), high]
    points: list[NDArray[np.float64]] = []
    masses: list[NDArray[np.float64]] = []
    for a, b in itertools.pairwise(cuts):
        count = max(1, round(nodes * (b - a) / (high - low)))
        x, w = np.polynomial.legendre.leggauss(count)
        t = (a + b) / 2 + (b - a) / 2 * x
        points.append(t)
        masses.append((b - a) / 2 * w * evaluate_program(density, t))
    return np.concatenate(points), np.concatenate(masses)
