"""The graph of embeddings: nodes are activations, edges are proofs, paths multiply.

For an ordered pair the atlas holds one of three verdicts: embedded, with an interval for the
constant; not embedded, with a witness; or open (THEORY.md, Theorem Chain, Theorem Embedding
constant).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from jaxbarron.activations import Activation, activation, registered_activations
from jaxbarron.balls.outward import product_up
from jaxbarron.bounds.constants import Constant
from jaxbarron.bounds.edge_kernels import EdgeKernel, embedding_kernel
from jaxbarron.bounds.edges import Edge, checked_order, edges, natural_order
from jaxbarron.bounds.lower_bounds import LowerBound, lower_bound
from jaxbarron.bounds.paper_kernel import paper_constant
from jaxbarron.bounds.sharp import sharp_constant
from jaxbarron.bounds.sharp.weights import constant_in_weight
from jaxbarron.bounds.witnesses import Witness, find_witness
from jaxbarron.certificates import EmbeddingCertificate, NonEmbeddingCertificate
from jaxbarron.errors import UnreachableTargetError, UsageError

__all__ = ["Embedding", "embedding", "embedding_constant", "embeddings"]

_SHARP = 1e-4  # a relative gap: what is asked of a constant that is a limit

Source = str | Activation | Callable[[Any], Any]


@dataclass(frozen=True)
class Embedding:
    """What is known of an ordered pair.

    Attributes:
        source: sigma.
        target: tau.
        order: p, of the weight ``(1 + rho)^p`` of every activation but RePU_s (``rho^s``).
        verdict: ``"embedded"``, ``"not embedded"`` or ``"open"``.
        route: the edges of the path with the least product, () unless embedded.
        direct: the best edge that joins the two without a detour, or None.
        bound: a lower bound of the constant, or None.
        upper: the product of the route's constants, rounded up; inf unless embedded.
        witness: the proof that there is no embedding, or None.
    """

    source: Activation
    target: Activation
    order: int
    verdict: Literal["embedded", "not embedded", "open"]
    route: tuple[Edge, ...]
    direct: Edge | None
    bound: LowerBound | None
    upper: float
    witness: Witness | None

    @property
    def lower(self) -> float:
        """A lower bound of the constant; inf where there is no embedding, 0 where none is known."""
        if self.witness is not None:
            return math.inf
        return 0.0 if self.bound is None else self.bound.value

    @property
    def gain(self) -> float | None:
        """How much the paper's kernel costs over the sharp constant: ``paper_constant / upper``.

        None where either is not known: the bounds of C differ by more than 1e-4, or there is no
        such kernel, or its cost is infinite (:func:`jaxbarron.bounds.paper_kernel.paper_constant`).

        Example:
            >>> round(embedding("tanh", "relu").gain, 4)  # 4.4768 / 2
            2.2384
        """
        if not self.upper < math.inf or self.upper > self.lower * (1 + _SHARP):
            return None
        known = paper_constant(self.source, self.target, self.order)
        return None if known is None else known / self.upper

    @property
    def theorem(self) -> str:
        """The theorem that the verdict rests on; "" where the pair is open."""
        if self.witness is not None:
            return self.witness.theorem
        if not self.route:
            return ""
        return self.route[0].theorem if len(self.route) == 1 else "Theorem Chain"

    def kernel(
        self,
        *,
        reach: float | None = None,
        tol: float | None = None,
        particles: int | None = None,
        uniform: bool = False,
    ) -> EdgeKernel:
        """The kernel from sigma to tau, along the whole route: see ``Edge.kernel`` of one edge.

        Where every edge of the route is a finite identity it is their composition; elsewhere the
        combination of least constant is sought for the pair, which is never dearer than composing.

        Args:
            reach: serve ``|z| <= reach``; None for all of R, where finite identities hold there.
            tol: the largest certified error, absolute; by default 1e-3.
            particles: instead of ``tol``: the largest number of particles.
            uniform: seek the least constant for all particles of at most this reach.

        Raises:
            UnreachableTargetError: the pair is not embedded, or open.
            UsageError: both ``tol`` and ``particles``, or a number of particles below 1.
            ToleranceError: a tolerance that is no finite number > 0, or that is not met.
            DomainError: a reach that is no finite number > 0, or none where one is needed.

        Example:
            >>> found = embedding("softsign", "tanh").kernel(reach=2.0, tol=1e-2)
            >>> found.error.upper <= 1e-2, found.constant <= found.bound
            (True, True)
        """
        if not self.route:
            raise UnreachableTargetError(
                f"given: the kernel of {self.source.name} -> {self.target.name}, which is "
                f"{self.verdict}; expected: an embedded pair; do: choose another target"
            )
        pair = self.source, self.target, self.order, self.upper
        return embedding_kernel(
            *pair, steps=[(e.source, e.target) for e in self.route], reach=reach, tol=tol,
            particles=particles, uniform=uniform,
        )  # fmt: skip

    @property
    def certificate(self) -> EmbeddingCertificate | NonEmbeddingCertificate | None:
        """What :func:`jaxbarron.verify` checks again; None where the pair is open."""
        if self.witness is not None:
            return NonEmbeddingCertificate(self.witness)
        if not self.route:
            return None
        return EmbeddingCertificate(self.route, self.bound, self.upper)


def embedding(source: Source, target: Source, *, order: int | None = None) -> Embedding:
    """Whether B_sigma lies in B_tau on the unit ball, at what constant, by what proof.

    The constant is ``C = sup over (w, b) of ||sigma(w . x + b)||_(B_tau) / V_sigma(w, b)``, the
    same for every dimension and norm (THEORY.md, Theorem Embedding constant), and ``lower <= C <=
    upper``.

    Args:
        source: a name, an activation or a scalar JAX function.
        target: the same.
        order: p of the weight ``(1 + rho)^p``; by default s for a target RePU_s and 1 otherwise.

    Raises:
        UnknownActivationError: no such name.
        UsageError: the order is not a whole number from 1 to 16.

    Example:
        >>> found = embedding("tanh", "relu")
        >>> found.verdict, found.lower <= 2 <= found.upper
        ('embedded', True)
        >>> embedding("relu", "tanh").verdict
        'not embedded'
    """
    sigma, tau = activation(source), activation(target)
    p = natural_order(tau) if order is None else checked_order(order)
    return _embedding(sigma, tau, p)


def embedding_constant(
    source: Source,
    target: Source,
    *,
    order: int | None = None,
    weight: Literal["reach", "bias_free", "l2"] = "reach",
    rel_gap: float | None = None,
) -> Constant:
    """``lower <= C <= upper`` for the embedding constant of :func:`embedding`, as a number.

    Not embedded: both are inf, with the reason; open: 0 and inf, with the reason.

    Args:
        source: as in :func:`embedding`.
        target: the same.
        order: the same.
        weight: ``"reach"``, as in :func:`embedding`; ``"bias_free"``: ``w^s`` and ``|alpha|^s``,
            where the target is RePU_s, s >= 1 (THEORY.md, Theorem Bias free); ``"l2"``:
            ``(w^2 + b^2)^(1/2)`` for both, where the target is ReLU (Theorem Euclidean weights),
            to ``rel_gap``, 1e-6 by default and 1e-7 at best.  Both are read from the shipped table
            for a registered activation; a search takes seconds.
        rel_gap: where the interval is wider than this and the target is RePU_s, s >= 1, a proof
            is searched for (THEORY.md, Theorem One reach), which takes seconds.  The result is a
            true interval also where the gap is not reached.

    Raises:
        UnknownActivationError: no such name.
        UsageError: the order is not a whole number from 1 to 16, an unknown weight, one that the
            target or the order does not have, or a gap that is not between 1e-12 and 1.

    Example:
        >>> c = embedding_constant("tanh", "repu(2)")  # 8 / (3 sqrt 3), a limit
        >>> c.lower <= 1.5396007178390020 <= c.upper <= c.lower * (1 + 1e-12)
        True
        >>> embedding_constant("softplus", "relu", weight="bias_free").theorem
        'Bias free'
    """
    if rel_gap is not None and not 1e-12 <= rel_gap <= 1:
        raise UsageError(
            f"given: rel_gap={rel_gap!r}; expected: from 1e-12 to 1; do: e.g. rel_gap=1e-6"
        )
    if weight != "reach":
        pair = activation(source), activation(target)
        return _in_other_weight(*pair, order, weight, 1e-6 if rel_gap is None else rel_gap)
    found = embedding(source, target, order=order)
    reason = ""
    if found.witness is not None:
        reason = found.witness.claim
    elif not found.route:
        reason = "neither an embedding nor a proof against one is known"
    theorem = (found.theorem or "Theorem Embedding constant").removeprefix("Theorem ")
    known = Constant(found.lower, found.upper, theorem, reason)
    s = found.target.homogeneity
    if rel_gap is None or found.witness is not None or not s:
        return known
    if known.upper <= known.lower * (1 + rel_gap):
        return known
    sharp = sharp_constant(found.source, s, found.order, rel_gap)
    if sharp is None or not math.isfinite(sharp.upper):
        return known
    lower, upper = max(known.lower, sharp.lower), min(known.upper, sharp.upper)
    return Constant(lower, upper, "One reach")


def _in_other_weight(
    sigma: Activation,
    tau: Activation,
    order: int | None,
    weight: Literal["bias_free", "l2"],
    rel_gap: float,
) -> Constant:
    s = tau.homogeneity
    known = {"bias_free": s, "l2": s == 1}.get(weight)
    if not known or sigma.homogeneity is not None or order not in (None, s):
        raise UsageError(
            f"given: weight={weight!r} for {sigma.name} in {tau.name}; expected: 'reach', or "
            "'bias_free' for a source that is no RePU and a target RePU_s, s >= 1, at order s, or "
            "'l2' for such a source and the target ReLU; do: leave the weight out"
        )
    assert s is not None
    return constant_in_weight(sigma, weight, s, rel_gap)[0]


def embeddings(
    sources: Iterable[Source] | None = None,
    targets: Iterable[Source] | None = None,
    *,
    order: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Embedding, ...]:
    """The atlas: :func:`embedding` for every pair, by default of all registered activations.

    Args:
        sources: the activations to embed; None: all registered ones.
        targets: the activations to embed in; None: all registered ones.
        order: as in :func:`embedding`; by default each target's own.
        progress: called with (pairs done, pairs in all).

    Example:
        >>> [e.verdict for e in embeddings(["tanh"], ["sigmoid", "relu"])]
        ['embedded', 'embedded']
    """
    rows = [activation(a) for a in (registered_activations() if sources is None else sources)]
    columns = [activation(a) for a in (registered_activations() if targets is None else targets)]
    found: list[Embedding] = []
    for sigma in rows:
        for tau in columns:
            found.append(embedding(sigma, tau, order=order))
            if progress is not None:
                progress(len(found), len(rows) * len(columns))
    return tuple(found)


@functools.lru_cache(maxsize=8192)
def _embedding(sigma: Activation, tau: Activation, order: int) -> Embedding:
    direct = next(iter(_edges(sigma, tau, order)), None)
    route, upper = _shortest_path(sigma, tau, order)
    if route:
        bound = lower_bound(sigma, tau, order)
        return Embedding(sigma, tau, order, "embedded", route, direct, bound, upper, None)
    witness = find_witness(sigma, tau, order)
    verdict = "open" if witness is None else "not embedded"
    return Embedding(sigma, tau, order, verdict, (), None, None, math.inf, witness)


@functools.lru_cache(maxsize=16384)
def _edges(sigma: Activation, tau: Activation, order: int) -> tuple[Edge, ...]:
    return edges(sigma, tau, order)


def _shortest_path(
    sigma: Activation, tau: Activation, order: int
) -> tuple[tuple[Edge, ...], float]:
    """The path with the least product of constants: Bellman and Ford, on products rounded up.

    Constants below 1 occur; a cycle with a product below 1 does not, since the product bounds the
    constant of an activation in its own space, which is 1.
    """
    nodes = list(dict.fromkeys([sigma, *registered_activations(), tau]))
    best: dict[Activation, tuple[float, tuple[Edge, ...]]] = {sigma: (1.0, ())}
    front = [sigma]
    while front:
        reached: list[Activation] = []
        for node in front:
            cost, path = best[node]
            for other in nodes:
                if other == node or any(other in (e.source, e.target) for e in path):
                    continue
                for edge in _edges(node, other, order)[:1]:
                    total = product_up(cost, edge.upper)
                    if other not in best or total < best[other][0]:
                        best[other] = total, (*path, edge)
                        reached.append(other)
        front = list(dict.fromkeys(reached))
    if sigma == tau:
        unit = _edges(sigma, tau, order)[:1]
        return unit, unit[0].upper
    total, path = best.get(tau, (math.inf, ()))
    return path, total
