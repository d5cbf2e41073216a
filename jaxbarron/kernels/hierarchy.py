"""The hierarchy: RePU_t as an integral of RePU_s particles, t > s."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import roots_jacobi

from jaxbarron.errors import DomainError, UnreachableTargetError, UsageError
from jaxbarron.measures import ParticleMeasure

__all__ = ["hierarchy_constant", "hierarchy_kernel"]


def hierarchy_kernel(t: int, s: int, reach: float, *, nodes: int = 32) -> ParticleMeasure:
    """The kernel from RePU_t to RePU_s on ``|z| <= reach``, t > s >= 1.

        z_+^t = t! / (s! (t-s-1)!) int_0^reach u^(t-s-1) (z - u)_+^s du

    (THEORY.md, Theorem Hierarchy; Heeringa et al., arXiv 2305.15839), the integral by
    Gauss-Jacobi quadrature with the weight u^(t-s-1): all masses are positive, their sum is exact.

    Args:
        t: the power of the source.
        s: the power of the target.
        reach: a finite number > 0.
        nodes: the number of particles.

    Raises:
        UnreachableTargetError: t <= s: RePU_t then does not lie in the Barron space of RePU_s,
            except t = s, which needs no kernel.
        UsageError: s < 1 or nodes < 1.
        DomainError: the reach is not a finite number > 0.

    Example:
        >>> float(hierarchy_kernel(2, 1, reach=1.0, nodes=4).weights.sum())
        2.0
    """
    _check_powers(t, s)
    if nodes < 1:
        raise UsageError(f"given: nodes={nodes}; expected: at least 1; do: e.g. nodes=32")
    if not (np.isfinite(reach) and reach > 0):
        raise DomainError(
            f"given: reach={reach}; expected: a finite number > 0; do: give the largest |z| that "
            "the kernel must serve"
        )
    power = t - s - 1
    x, w = roots_jacobi(nodes, 0, power)
    u = reach * (1 + x) / 2
    factor = math.factorial(t) / (math.factorial(s) * math.factorial(power))
    masses = factor * (reach / 2) ** (power + 1) * w
    # rounding of the quadrature weights apart, the total mass is binom(t, s) reach^(t-s)
    masses *= math.comb(t, s) * reach ** (t - s) / masses.sum()
    return ParticleMeasure(masses[:, None], np.ones((nodes, 1)), -u)


def hierarchy_constant(t: int, s: int) -> int:
    """The embedding constant of B_RePU_t in B_RePU_s on a particle of reach 1: a whole number.

    ``t! / (s! (t-s-1)!) int_0^1 u^(t-s-1) (1+u)^s du`` (THEORY.md, Theorem Hierarchy): 3 for
    2 -> 1, 5 for 3 -> 1, 7 for 3 -> 2, 17 for 4 -> 2, 15 for 4 -> 3.

    Raises:
        UnreachableTargetError: t <= s.
        UsageError: s < 1.

    Example:
        >>> hierarchy_constant(4, 2)
        17
    """
    _check_powers(t, s)
    # int_0^1 u^(t-s-1) (1+u)^s du = sum_j binom(s, j) / (t - s + j), over one denominator
    denominator = math.lcm(*range(t - s, t + 1))
    numerator = sum(math.comb(s, j) * (denominator // (t - s + j)) for j in range(s + 1))
    factor = math.factorial(t) // (math.factorial(s) * math.factorial(t - s - 1))
    return factor * numerator // denominator


def _check_powers(t: int, s: int) -> None:
    if s < 1:
        raise UsageError(f"given: s={s}; expected: s >= 1; do: e.g. hierarchy_kernel(3, 1, ...)")
    if t <= s:
        raise UnreachableTargetError(
            f"given: RePU_{t} into RePU_{s}; expected: t > s, since a derivative of RePU_{t} jumps "
            f"that every RePU_{s} particle keeps continuous; do: exchange source and target"
        )
