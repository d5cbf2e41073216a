"""An edge of the atlas: one proof that one activation embeds in another."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxbarron.activations import Activation
from jaxbarron.bounds.edge_kernels import EdgeKernel, embedding_kernel

__all__ = ["Edge", "make_edge"]


@dataclass(frozen=True)
class Edge:
    """The embedding constant from ``source`` to ``target`` is at most ``upper``.

    Attributes:
        source: sigma.
        target: tau.
        order: p, of the weight ``(1 + rho)^p`` of every activation but RePU_s.
        rule: the name of the rule, a key of ``RULES``.
        upper: the bound, rounded up.
        theorem: the theorem of THEORY.md that proves it.
        formula: the kernel.
    """

    source: Activation
    target: Activation
    order: int
    rule: str
    upper: float
    theorem: str
    formula: str

    def kernel(
        self,
        *,
        reach: float | None = None,
        tol: float | None = None,
        particles: int | None = None,
        uniform: bool = False,
    ) -> EdgeKernel:
        """The kernel as a particle measure with its certified error and its cost in every weight.

        The identity where the edge is one; elsewhere the combination of particles of least
        constant that serves the tolerance: of the kernels that approximate, none in its dictionary
        is cheaper, that of the theorem included.

        Args:
            reach: serve ``|z| <= reach``; None for all of R, where a finite identity holds there.
            tol: the largest certified error, absolute; by default 1e-3.
            particles: instead of ``tol``: the largest number of particles.
            uniform: seek the least constant for all particles of at most this reach.

        Raises:
            UsageError: both ``tol`` and ``particles``, or a number of particles below 1.
            ToleranceError: a tolerance that is no finite number > 0, or that is not met.
            DomainError: a reach that is no finite number > 0, or none where one is needed.

        Example:
            >>> from jaxbarron.activations import activation
            >>> from jaxbarron.bounds.edges import edges
            >>> edge = edges(activation("sigmoid"), activation("tanh"), 1)[0]
            >>> found = edge.kernel(reach=4.0)
            >>> found.measure.particles, found.error.upper < 1e-15
            (2, True)
            >>> round(found.costs["total_variation"], 4)
            1.1565
        """
        return embedding_kernel(
            self.source, self.target, self.order, self.upper, reach=reach, tol=tol,
            particles=particles, uniform=uniform,
        )  # fmt: skip


def make_edge(
    source: Activation, target: Activation, order: int, rule: str, upper: float, theorem: str,
    formula: str,
) -> Edge | None:  # fmt: skip
    """The edge; None where the bound is infinite."""
    if not math.isfinite(upper):
        return None
    return Edge(source, target, order, rule, upper, theorem, formula)
