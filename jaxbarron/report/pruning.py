"""Gradual pruning of kernels: fine-tune the switched model while knots are taken away.

The run is that of the other candidates, on the same examples in the same order; the kernels'
weights and knots are trained along with the model.  Between two chunks of steps the particles whose
loss changes the function least on the data are removed (THEORY.md, Theorem Removed particle).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.certificates import kernel_certificate
from jaxbarron.kernels.knot_removal import remove_particles
from jaxbarron.measures import ParticleMeasure
from jaxbarron.report.knots_removed import PATH_NAME, PathStage
from jaxbarron.report.subject import OwnModel
from jaxbarron.report.training import Course, Plan, course, points_of
from jaxbarron.switching import Replacement, switch
from jaxbarron.switching.metrics import metric_value

__all__ = ["Pruned", "prune_while_training", "pruning_schedule"]

_REMOVING = 0.7  # of the run; the rest is for the last kernel to recover
_VALUES = 4000  # of a site's pre-activations: they fix a mean square to about 2 %


def pruning_schedule(first: int, last: int, removals: int) -> tuple[int, ...]:
    """How many particles are left after each of so many removals.

    The cubic schedule of M. Zhu and S. Gupta, To prune, or not to prune (arXiv 1710.01878): many at
    the beginning, where they matter little, few towards the end.

    Example:
        >>> pruning_schedule(16, 2, 6)
        (10, 6, 4, 3, 2, 2)
    """
    shares = [(1 - (k + 1) / removals) ** 3 for k in range(removals)]
    return tuple(last + round((first - last) * share) if first > last else first
                 for share in shares)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Pruned:
    """What a run with removals led to.

    Attributes:
        course: its curve.
        stages: one for each number of particles.
        planned: the trained kernels at the end, with their certificates.
        parameters: the model's trained arrays.
        settled: the first of the curve's points after the last removal.
    """

    course: Course
    stages: tuple[PathStage, ...]
    planned: tuple[Replacement, ...]
    parameters: Any
    settled: int


def prune_while_training(
    model: OwnModel,
    plan: Plan,
    planned: Sequence[Replacement],
    values: Mapping[str, np.ndarray],
    to: int,
    sham_losses: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
) -> Pruned:
    """Train model and kernels together, and take particles away until ``to`` a site are left.

    Args:
        model: the model on its data.
        plan: data, order, loss and optimiser, as for the sham switch.
        planned: what becomes of which site: where the kernels start.
        values: by path the pre-activations met in the model, shape (n,).
        to: particles of each kernel at the end.
        sham_losses: of the unchanged model after the same steps, shape (evaluations + 1, m).
        progress: called with (chunks done, chunks).

    Raises:
        NonFiniteError: a loss is NaN or infinite, or the metric is.
    """
    run = _Run(model, plan, planned, values, to)
    whole = model.parameters, run.start()
    flags = [*plan.trainable, *run.trainable()]
    ran = course(PATH_NAME, run.apply, whole, replace(plan, trainable=tuple(flags)), progress,
                 run.between)  # fmt: skip
    parameters, leaves = ran.parameters
    kernels = run.kernels(leaves)
    certificates = run.close(len(plan.order), kernels, ran.outputs)
    final = [x._replace(kernel=c.kernel, certificate=c)
             for x, c in zip(planned, certificates, strict=True)]  # fmt: skip
    stages = [replace(x, loss=float(ran.losses[k].mean()),
                      excess=float((ran.losses[k] - sham_losses[k]).mean()))
              for k, x in zip(run.ends, run.stages, strict=True)]  # fmt: skip
    return Pruned(ran, tuple(stages), tuple(final), parameters, run.settled)


@dataclass(eq=False)
class _Run:
    """Kernels as leaves of a training run: weights, directions, offsets and who is left.

    The leaves are K times those numbers, K the particles at the start: a step of an optimiser like
    Adam, which is one length for each number, then moves the function as far as a step of one
    particle alone would, and not K times as far.
    """

    model: OwnModel
    plan: Plan
    planned: Sequence[Replacement]
    values: Mapping[str, np.ndarray]
    to: int
    stages: list[PathStage] = field(default_factory=list[PathStage])
    ends: list[int] = field(default_factory=list[int])
    settled: int = 0
    _began: int = 0
    _removal: float = 0.0

    def __post_init__(self) -> None:
        removals = max(1, int(_REMOVING * len(self.plan.order)))
        self._schedules = [
            pruning_schedule(x.kernel.particles, min(self.to, x.kernel.particles), removals)
            for x in self.planned
        ]
        self._points = points_of(self.plan.order)
        self._z = []
        for x in self.planned:
            z = np.asarray(self.values[x.site.path], np.float64).ravel()
            self._z.append(z[:: max(1, len(z) // _VALUES)])
        # the trained tails are not the activation's: what is certified holds where the data reaches
        self._reach = [
            2.0 ** math.ceil(math.log2(max(float(np.abs(z).max()), 1.0))) for z in self._z
        ]

    def start(self) -> list[Any]:
        """The leaves of all kernels."""
        dtype = jnp.result_type(float)
        return [
            (*(jnp.asarray(np.asarray(a) * x.kernel.particles, dtype).reshape(-1) for a in
               (x.kernel.weights, x.kernel.directions, x.kernel.offsets)),
             jnp.ones(x.kernel.particles, bool))
            for x in self.planned
        ]  # fmt: skip

    def trainable(self) -> list[bool]:
        """Which leaves: for RePU_s a scale of a direction is one of the weight."""
        return [flag for x in self.planned
                for flag in (True, x.target.homogeneity is None, True, False)]  # fmt: skip

    def apply(self, whole: Any, x: Any) -> Any:
        """The model with the kernels of these leaves; who is gone has weight and gradient 0."""
        parameters, leaves = whole
        rules: dict[Any, Any] = {}
        for plan, (*scaled, left) in zip(self.planned, leaves, strict=True):
            c, alpha, beta = (a / len(left) for a in scaled)
            columns = jnp.where(left, c, 0)[:, None], alpha[:, None], beta
            kernel = ParticleMeasure.tree_unflatten(None, columns)
            rules[plan.site.path] = (kernel, plan.target)
        return switch(self.model.apply, rules)(parameters, x)

    def kernels(self, leaves: Any) -> list[ParticleMeasure]:
        """The kernels that the leaves are, without the particles that are gone."""
        made: list[ParticleMeasure] = []
        for *scaled, left in leaves:
            rows = np.asarray(left)
            # divided as in the model, in its precision: the same numbers
            c, alpha, beta = (np.asarray(a / len(left), np.float64)[rows] for a in scaled)
            made.append(ParticleMeasure(c[:, None], alpha[:, None], beta))
        return made

    def between(self, k: int, leaves: list[Any], outputs: np.ndarray) -> list[Any]:
        """Close a stage and take particles away, where the schedule says so."""
        if not 0 < k <= len(self._schedules[0]):
            return leaves
        tree = jax.tree.structure((self.model.parameters, self.start()))
        parameters, kernels = jax.tree.unflatten(tree, leaves)
        numbers = [schedule[k - 1] for schedule in self._schedules]
        there = self.kernels(kernels)
        if all(x.particles <= n for x, n in zip(there, numbers, strict=True)):
            return leaves
        self.close(k, there, outputs)
        self._began, self._removal, self.settled = k, 0.0, k + 1  # the k-th loss is of before
        fewer = [
            self._without(row, kernel, plan, z, n)
            for row, kernel, plan, z, n in zip(
                kernels, there, self.planned, self._z, numbers, strict=True
            )
        ]
        return jax.tree.leaves((parameters, fewer))

    def _without(
        self, row: Any, kernel: ParticleMeasure, plan: Replacement, z: np.ndarray, number: int
    ) -> Any:
        if kernel.particles <= number:
            return row
        c, alpha, beta, left = row
        found = remove_particles(kernel, plan.target, z, number)
        self._removal = max(self._removal, found.change)
        places = np.flatnonzero(np.asarray(left))[found.kept]
        stay = np.zeros(len(left), bool)
        stay[places] = True
        weights = np.zeros(len(left), c.dtype)
        weights[places] = found.kernel.weights[:, 0] * len(left)
        return jnp.asarray(weights), alpha, beta, jnp.asarray(stay)

    def close(self, k: int, kernels: Sequence[ParticleMeasure], outputs: np.ndarray) -> list[Any]:
        """Write down the stage that ends at the k-th point; the certificates of its kernels."""
        certificates = [
            kernel_certificate(kernel, x.site.activation, x.target, reach=reach)
            for kernel, x, reach in zip(kernels, self.planned, self._reach, strict=True)
        ]
        worst = max(certificates, key=lambda c: c.upper)
        metric = metric_value(self.model.metric, outputs, np.asarray(self.plan.held_y))
        self.ends.append(k)
        self.stages.append(
            PathStage(
                particles=max(x.particles for x in kernels),
                first_step=int(self._points[self._began]),
                last_step=int(self._points[k]),
                removal=self._removal,
                loss=math.nan,  # both from the whole curve, in the end
                excess=math.nan,
                metric=metric,
                certified=worst.upper,
                level=worst.level,
                holds_on=worst.where_it_holds,
            )
        )
        return certificates
