"""The kernel of an embedding as an object: particles, certified error, cost in every weight.

Where the embedding is an identity of finitely many particles, these; elsewhere the combination of
least constant, among a dictionary of particles, that comes within a tolerance: a linear program
finds it, and nothing of it is believed (THEORY.md, Theorem Kernel error, Finite kernel cost).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, get_args

import numpy as np

from jaxbarron.activations import Activation
from jaxbarron.balls.series import working_precision
from jaxbarron.bounds.identities import find_identity
from jaxbarron.bounds.kernel_error import KernelError, kernel_error
from jaxbarron.bounds.least_constant import Combination, LeastConstant
from jaxbarron.domains import Ball
from jaxbarron.errors import DomainError, ToleranceError
from jaxbarron.kernels.demand import check_demand
from jaxbarron.measures import ParticleMeasure, unit_kernel
from jaxbarron.norms import Weight, norm
from jaxbarron.programs import evaluate_program

__all__ = ["EdgeKernel", "embedding_kernel"]

_BITS = 192
_LARGE = 2.0**20  # stands for lambda -> infinity where a cost is a limit
_TOLERANCES = tuple(10.0 ** (-k / 2) for k in range(1, 11))
_EVALUATIONS = 6000
_SAMPLES = 100_001
_MOST_STEPS = 4096
_MARGIN = 1.01
_EXCESS = 1e-3  # beyond it an identity is left for the dictionary


@dataclass(frozen=True, eq=False)
class EdgeKernel:
    """``|sigma(z) - sum_k c_k tau(alpha_k z + beta_k)| <= error.upper`` for ``|z| <= reach``.

    Ready for :func:`jaxbarron.push_forward`.

    Attributes:
        measure: the particles, NumPy doubles.
        source: sigma.
        target: tau.
        order: p of the weight ``(1 + rho)^p``.
        reach: how far the kernel serves; inf: everywhere.
        error: the certified error there.
        constant: pushed along this kernel, a measure whose particles have this reach (RePU_t: are
            scaled to it) has at most this times its norm.
        uniform: the same for all particles of at most this reach.
        bound: the proved constant of the embedding, which the kernels of its theorem do not exceed.
    """

    measure: ParticleMeasure
    source: Activation
    target: Activation
    order: int
    reach: float
    error: KernelError
    constant: float
    uniform: float
    bound: float

    @property
    def excess(self) -> float:
        """By what part the constant exceeds the bound: the price of being finite; at least -1."""
        return self.constant / self.bound - 1

    def cost(self, weight: Weight | None = None, order: float | None = None) -> float:
        """The norm of the kernel on ``|z| <= reach`` in a weight of :mod:`jaxbarron.norms`.

        Args:
            weight: by default that of the target.
            order: its power; by default that of the embedding.

        Raises:
            DomainError: the kernel serves all of R, where particles have no largest reach.
        """
        if not math.isfinite(self.reach):
            raise DomainError(
                "given: the cost of a kernel on all of R; expected: a reach; do: ask for the "
                "kernel with reach=, e.g. reach=1.0"
            )
        natural = "inhomogeneous" if self.target.homogeneity is None else "homogeneous"
        power = self.order if self.target.homogeneity is None else self.target.homogeneity
        return float(
            norm(
                self.measure,
                Ball(self.reach),
                weight=weight or natural,
                order=power if order is None else order,
            )
        )

    @property
    def costs(self) -> dict[str, float]:
        """:meth:`cost` in every weight."""
        return {name: self.cost(name) for name in get_args(Weight)}


def embedding_kernel(
    source: Activation,
    target: Activation,
    order: int,
    bound: float,
    *,
    steps: Sequence[tuple[Activation, Activation]] = (),
    reach: float | None = None,
    tol: float | None = None,
    particles: int | None = None,
    uniform: bool = False,
) -> EdgeKernel:
    """The kernel of an embedding whose constant is at most ``bound``.

    Args:
        source: sigma.
        target: tau.
        order: p.
        bound: a proved bound of the embedding constant.
        steps: the pairs of a route from sigma to tau; by default the pair itself.
        reach: serve ``|z| <= reach``; None for all of R, where an identity holds there.
        tol: the largest certified error, absolute; by default 1e-3.
        particles: instead of ``tol``: the largest number of particles.
        uniform: seek the least constant for all particles of at most this reach, not for those of
            this reach alone.

    Raises:
        UsageError: both ``tol`` and ``particles``, or a number of particles below 1.
        ToleranceError: a tolerance that is no finite number > 0, or that is not met.
        DomainError: a reach that is no finite number > 0, or none where one is needed.
    """
    check_demand(tol, particles, reach)
    exact = _composed(steps or [(source, target)], order, reach)
    if exact is not None:
        kernel = _assembled(exact, source, target, order, bound, reach)
        if _serves(kernel, tol, particles) and (reach is None or kernel.excess < _EXCESS):
            return kernel
    if reach is None:
        raise DomainError(
            f"given: the kernel {source.name} -> {target.name} on all of R; expected: a reach, "
            "since it has infinitely many particles; do: give reach=, e.g. reach=8.0"
        )
    if target.homogeneity == 0:
        rows = _steps(source, reach, tol or 1e-3, particles)
        return _assembled(rows, source, target, order, bound, reach)
    program = LeastConstant(source, target, order, reach, uniform=uniform)
    if particles is None:
        return _within(program, source, target, order, bound, reach, tol or 1e-3)
    best = None
    for wanted in _TOLERANCES:
        found = program.within(wanted * program.size)
        if found is None or len(found.weights) > particles:
            break
        best = found
    if best is None:
        raise ToleranceError(
            f"given: particles={particles} for {source.name} -> {target.name}; expected: enough "
            f"for an error of {_TOLERANCES[0] * program.size:.3g}; do: allow more"
        )
    return _assembled(_rows(best), source, target, order, bound, reach)


def _serves(kernel: EdgeKernel, tol: float | None, particles: int | None) -> bool:
    if particles is not None and kernel.measure.particles > particles:
        return False
    return kernel.error.upper <= (tol if tol is not None else math.inf) and math.isfinite(
        kernel.error.upper
    )


def _within(
    program: LeastConstant, source: Activation, target: Activation, order: int, bound: float,
    reach: float, tol: float,
) -> EdgeKernel:  # fmt: skip
    best, wanted = math.inf, 0.95 * tol
    for _ in range(4):
        found = program.within(wanted)
        if found is None:
            break
        kernel = _assembled(_rows(found), source, target, order, bound, reach)
        if kernel.error.upper <= tol:
            return kernel
        best = min(best, kernel.error.upper)
        wanted *= 0.95 * min(1.0, tol / kernel.error.upper)
    raise ToleranceError(
        f"given: tol={tol} for {source.name} -> {target.name} on |z| <= {reach:g}; expected: a "
        f"tolerance that the dictionary of particles holds, the best found is {best:.3g}; do: "
        "allow more, or lower the reach"
    )


Row = tuple[float, float, float]


def _rows(found: Combination) -> list[Row]:
    columns = found.weights.tolist(), found.directions.tolist(), found.offsets.tolist()
    return list(zip(*columns, strict=True))


def _composed(
    steps: Sequence[tuple[Activation, Activation]], order: int, reach: float | None
) -> list[Row] | None:
    """The identities along a route, each on the reach that the one before it asks for."""
    whole = [(1.0, 1.0, 0.0)]
    for source, target in steps:
        widest = reach
        if reach is not None:
            widest = max(abs(a) * reach + abs(b) for _, a, b in whole) or reach
        found = _exact_particles(source, target, order, widest)
        if found is None:
            return None
        whole = [(c * d, e * a, e * b + f) for c, a, b in whole for d, e, f in found]
    return whole


def _exact_particles(
    source: Activation, target: Activation, order: int, reach: float | None
) -> list[Row] | None:
    """The finite identity, coefficients rounded to doubles; None where there is none."""
    if source == target:
        return [(1.0, 1.0, 0.0)]
    if source.homogeneity == 0:
        return None
    with working_precision(_BITS):
        identity = find_identity(source, target)
        if identity is None:
            return None
        rows = [tuple(float(x.mid()) for x in particle) for particle in identity.particles]
    power, scale = source.homogeneity, 1.0
    if identity.reach is not None:
        if reach is None or power is None:
            return None
        scale = 1 / reach
    elif power is not None and target.homogeneity is None and order == power:
        scale = _LARGE / (2.0 ** math.floor(math.log2(reach)) if reach else 1.0)
    # sigma(z) = lambda^-t sigma(lambda z)
    return [(c * scale ** -(power or 0), a * scale, b) for c, a, b in rows]


def _steps(source: Activation, reach: float, tol: float, particles: int | None) -> list[Row]:
    """Steps of equal height, half to the right and half to the left where that costs less.

    With K steps the error is the variation of sigma over 2 K (Theorem Matched cells, s = 0).
    """
    bend = math.asinh(reach)
    points = np.sinh(np.linspace(-bend, bend, _SAMPLES)).clip(-reach, reach)
    values = np.asarray(evaluate_program(source.program, points), np.float64)
    rise = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(values)))])
    first, middle = float(values[0]), float(values[0] + values[-1]) / 2
    both = abs(middle) < abs(first)
    each = 2 if both else 1
    total = float(rise[-1])
    count = math.ceil(total / (2 * tol) * _MARGIN)
    if particles is not None:
        count = (particles - 1) // each
    if total and not 0 < count <= _MOST_STEPS:
        raise ToleranceError(
            f"given: {count} steps of {source.name}, of variation {total:.3g}; expected: from 1 to "
            f"{_MOST_STEPS}; do: another tolerance or number of particles"
        )
    levels = np.interp(np.arange(count + 1) * (total / max(count, 1)), rise, values)
    knots = np.interp((np.arange(count) + 0.5) * (total / max(count, 1)), rise, points).tolist()
    jumps = np.diff(levels).tolist()
    constant = middle if both else first
    rows = [(constant, 0.0, 1.0)] if constant or not count else []
    for jump, knot in zip(jumps, knots, strict=True):
        rows += [(jump / 2, 1.0, -knot), (-jump / 2, -1.0, knot)] if both else [(jump, 1.0, -knot)]
    return rows


def _assembled(
    rows: Iterable[Row], source: Activation, target: Activation, order: int, bound: float,
    reach: float | None,
) -> EdgeKernel:  # fmt: skip
    table = np.array(list(rows), np.float64)
    measure = ParticleMeasure(table[:, :1], table[:, 1:2], table[:, 2])
    limit = math.inf if reach is None else float(reach)
    if source == target:
        measure, error = unit_kernel(), KernelError(0.0, 0.0, 0.0, limit)
    else:
        error = kernel_error(
            source.program,
            target.program,
            table[:, 0],
            table[:, 1],
            table[:, 2],
            reach=limit,
            splits=[kink.location for kink in source.kinks],
            target_splits=[kink.location for kink in target.kinks],
            target_homogeneity=target.homogeneity,
            max_evaluations=_EVALUATIONS,
        )
    constant, uniform = _constants(measure, source, target, order, limit)
    return EdgeKernel(measure, source, target, order, limit, error, constant, uniform, bound)


def _constants(
    kernel: ParticleMeasure, source: Activation, target: Activation, order: int, reach: float
) -> tuple[float, float]:
    """Cost over weight at the reach and the largest up to it, in exact fractions, rounded up.

    With x = rho/(1 + rho) it is convex in x, so it is largest at an end (Theorem Finite kernel
    cost); a homogeneous source is scaled to the reach.
    """
    base, s = (1, order) if target.homogeneity is None else (0, target.homogeneity)
    particles: list[tuple[Fraction, Fraction, Fraction]] = [
        (abs(Fraction(c)), abs(Fraction(a)), abs(Fraction(b)))
        for c, a, b in zip(
            kernel.weights[:, 0].tolist(),
            kernel.directions[:, 0].tolist(),
            kernel.offsets.tolist(),
            strict=True,
        )
    ]

    def at(rho: Fraction) -> Fraction:
        return sum((c * (base + a * rho + b) ** s for c, a, b in particles), Fraction(0))

    end = None if math.isinf(reach) else Fraction(reach)
    if source.homogeneity is not None:
        end = Fraction(1) if end is None else end
        constant = _rounded_up(at(end) / end**source.homogeneity)
        return constant, constant
    far: Any = sum((c * a**s for c, a, _ in particles), Fraction(0))
    if end is not None:
        far = at(end) / (1 + end) ** s
    uniform = _rounded_up(max(at(Fraction(0)), far))
    if end is None:
        return uniform, uniform
    return _rounded_up(at(end) / (1 + end) ** order), uniform


def _rounded_up(exact: Fraction) -> float:
    try:
        value = float(exact)
    except OverflowError:
        return math.inf
    return value if Fraction(value) >= exact else math.nextafter(value, math.inf)
