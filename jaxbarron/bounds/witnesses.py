"""Non-embeddings: functionals that stay small on every particle of the target and grow on sigma.

A witness holds the numbers of such a proof.  The theorem that each rests on covers the limit; the
numbers are outward-rounded, and :func:`check_witness` derives every one again.  What is neither
embedded (THEORY.md, Theorem Embedding constant) nor refuted here is open (Theorem Jump witness,
Theorem Smoothness witness, Theorem Scaling witness, Theorem Difference witness, Theorem Value
witness, Theorem Variation witness, Theorem Polynomial target).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from jaxbarron.activations import Activation
from jaxbarron.balls.notation import rounded_down, rounded_up
from jaxbarron.balls.series import working_precision
from jaxbarron.bounds.obstructions import (
    HIGHEST,
    Evidence,
    by_difference,
    by_jump,
    by_polynomial,
    by_scaling,
    by_smoothness,
    by_value,
    by_variation,
    difference_candidates,
    kinks_above,
    kinks_at,
    polynomial_candidates,
    slope_candidates,
    value_candidates,
    variation_candidates,
)
from jaxbarron.errors import UsageError

__all__ = ["Witness", "check_witness", "find_witness"]

Kind = Literal["jump", "smoothness", "scaling", "growth"]

_BITS = 256
_STEPS = tuple(2.0**-k for k in (4, 8, 12, 16))
_SPREADS = tuple(2.0**k for k in (4, 8, 12, 16))


@dataclass(frozen=True)
class Witness:
    """Why no C has ``||sigma(w . x + b)||_(B_tau) <= C V_sigma(w, b)`` for all (w, b).

    Attributes:
        source: sigma.
        target: tau.
        order: p, of the weight ``(1 + rho)^p`` of every activation but RePU_s, whose weight is
            ``rho^s``.
        kind: ``"jump"`` and ``"smoothness"``: one particle of sigma lies outside B_tau;
            ``"scaling"``: a limit of weighted particles does, which no closed ball of B_tau allows;
            ``"growth"``: no constant serves all of them (for a polynomial tau: one particle again).
        derivative: the order m of the functional: a divided difference of order m (0: a value), or
            the variation of the derivative of order m.
        location: the kink of sigma (of order m - 1 for a jump, m for smoothness), or the centre b;
            +-inf: the side on which sigma grows.
        gap: a lower bound of what the proof needs to be nonzero: the jump, the divided
            difference in z, the leading coefficient, or the variation over one period (in modulus).
        atom_bound: an upper bound of the functional on ``tau(w . x + b) / V_tau(w, b)`` (for
            smoothness and scaling: of ``|tau^(m)|``).
        ratios: (h, r) for a jump, h the spacing; (w, r) or, for values, (|b|, r) for growth: the
            norm of a particle of sigma is at least r times its weight; () for smoothness and
            scaling.
        theorem: the theorem that proves the limit.
    """

    source: Activation
    target: Activation
    order: int
    kind: Kind
    derivative: int
    location: float
    gap: float
    atom_bound: float
    ratios: tuple[tuple[float, float], ...]
    theorem: str

    @property
    def claim(self) -> str:
        """The claim in one sentence."""
        sigma, tau, m = self.source.name, self.target.name, self.derivative
        head = f"{sigma} does not embed in the Barron space of {tau} at order {self.order}: "
        return head + _RULES[self.theorem].reason(self, sigma, tau, m)


def find_witness(source: Activation, target: Activation, order: int) -> Witness | None:
    """A proof that sigma does not embed in tau, if one of the theorems gives it; else None.

    None says nothing: the pair embeds, or is open.

    Args:
        source: sigma.
        target: tau.
        order: p >= 0, the order of the weight of every activation but RePU_s.

    Raises:
        UsageError: ``order`` is not a whole number >= 0.

    Example:
        >>> from jaxbarron.activations import activation
        >>> found = find_witness(activation("relu"), activation("tanh"), 2)
        >>> found.kind, found.derivative, found.gap
        ('jump', 2, 1.0)
        >>> find_witness(activation("tanh"), activation("relu"), 1) is None
        True
    """
    if isinstance(order, bool) or not isinstance(order, int) or order < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"given: order={order!r}; expected: a whole number >= 0; do: e.g. order=1")
    if source == target:
        return None
    with working_precision(_BITS, HIGHEST + 4):
        for theorem, rule in _RULES.items():
            found = [
                _assemble(theorem, source, target, order, m, location, evidence)
                for m, location in rule.candidates(source, target, order)
                if isinstance(evidence := rule.derive(source, target, order, m, location), Evidence)
            ]
            proofs = [w for w in found if w is not None]
            if proofs:
                return max(proofs, key=lambda w: w.gap)
    return None


def check_witness(witness: Witness) -> str | None:
    """None if every number of the witness holds, else what does not.

    Gap, atom bound and ratios are derived again from the two functions, by ball arithmetic.

    Example:
        >>> from dataclasses import replace
        >>> from jaxbarron.activations import activation
        >>> found = find_witness(activation("relu"), activation("tanh"), 2)
        >>> check_witness(found) is None
        True
        >>> check_witness(replace(found, location=0.5))
        'no jump of order 1 is proved at 0.5'
    """
    rule = _RULES.get(witness.theorem)
    if rule is None:
        return f"no rule for {witness.theorem!r}"
    if rule.kind != witness.kind:
        return f"{witness.theorem} proves a witness of kind {rule.kind}, not {witness.kind}"
    m, order = witness.derivative, witness.order
    if not 0 <= m <= HIGHEST:
        return f"the derivative's order {m} is not from 0 to {HIGHEST}"
    if order < 0:
        return f"the weight's order {order} is negative"
    with working_precision(_BITS, HIGHEST + 4):
        found = rule.derive(witness.source, witness.target, order, m, witness.location)
        if isinstance(found, str):
            return found
        if not 0 < witness.gap <= found.gap:
            return f"the gap is {witness.gap!r}; proved: {found.gap!r}"
        if not found.atom_bound <= witness.atom_bound < math.inf:
            return f"the atom bound is {witness.atom_bound!r}; proved: {found.atom_bound!r}"
        for x, ratio in witness.ratios:
            proved = found.ratio(x, witness.atom_bound)
            if not ratio <= proved:
                return f"the ratio at {x!r} is {ratio!r}; proved: {proved!r}"
    return None if rule.grows(witness) else "the ratios do not grow as the theorem has it"


# ---------------------------------------------------------------------- the table


@dataclass(frozen=True)
class _Rule:
    kind: Kind
    candidates: Callable[[Activation, Activation, int], Iterator[tuple[int, float]]]
    derive: Callable[[Activation, Activation, int, int, float], Evidence | str]
    arguments: tuple[float, ...]
    reason: Callable[[Witness, str, str, int], str]

    def grows(self, witness: Witness) -> bool:
        """Whether the table has the shape that the theorem speaks of."""
        if not self.arguments:
            return not witness.ratios
        if witness.atom_bound == 0:
            return bool(witness.ratios)
        direction = -1 if self.kind == "jump" else 1
        return len(witness.ratios) > 1 and all(
            direction * x < direction * y and r < s
            for (x, r), (y, s) in zip(witness.ratios, witness.ratios[1:], strict=False)
        )


def _assemble(
    theorem: str, source: Activation, target: Activation, order: int, m: int, location: float,
    evidence: Evidence,
) -> Witness | None:  # fmt: skip
    """The witness with its table; None where the first figures do not grow yet."""
    rule, bound = _RULES[theorem], evidence.atom_bound
    table = tuple((x, evidence.ratio(x, bound)) for x in rule.arguments)
    table = tuple(row for row in table if row[1] > 0)
    witness = Witness(
        source, target, order, rule.kind, m, location, evidence.gap, bound, table, theorem
    )
    return witness if rule.grows(witness) else None


_RULES = {
    "Theorem Polynomial target": _Rule(
        "growth", polynomial_candidates, by_polynomial, (4.0,),
        lambda w, sigma, tau, m: f"every function of {tau} is a polynomial of degree below {m}, "
        f"and a divided difference of order {m} of {sigma} near z = {w.location:g} is "
        f"{rounded_down(w.gap, 3)} or more in modulus",
    ),
    "Theorem Jump witness": _Rule(
        "jump", kinks_above, by_jump, _STEPS,
        lambda w, sigma, tau, m: f"the derivative of order {m - 1} of {sigma} jumps by "
        f"{rounded_down(w.gap, 3)} or more at z = {w.location:g}, so divided differences of order "
        f"{m} grow like 1/h there; on a unit particle of {tau} they stay below "
        f"{rounded_up(w.atom_bound, 3)}",
    ),
    "Theorem Smoothness witness": _Rule(
        "smoothness", kinks_at, by_smoothness, (),
        lambda w, sigma, tau, m: f"the functions of {tau} have continuous derivatives up to order "
        f"{m}, and that of {sigma} jumps by {rounded_down(w.gap, 3)} or more at z = {w.location:g}"
        + _in_the_closure(w),
    ),
    "Theorem Scaling witness": _Rule(
        "scaling", slope_candidates, by_scaling, (),
        lambda w, sigma, tau, m: f"{sigma}(w x)/w tends to a function whose slope jumps by "
        f"{rounded_down(w.gap, 3)} or more; {tau} is bounded, so balls of its space are closed, "
        "and its functions have continuous derivatives",
    ),
    "Theorem Difference witness": _Rule(
        "growth", difference_candidates, by_difference, _SPREADS,
        lambda w, sigma, tau, m: f"divided differences of order {m} of {sigma}(w x + b) grow like "
        f"w^{m}, its weight like w^{w.order}, and on a unit particle of {tau} they stay below "
        f"{rounded_up(w.atom_bound, 3)}",
    ),
    "Theorem Value witness": _Rule(
        "growth", value_candidates, by_value, _SPREADS,
        lambda w, sigma, tau, m: f"{sigma} outgrows its weight, and the values of a unit particle "
        f"of {tau} stay below {rounded_up(w.atom_bound, 3)}",
    ),
    "Theorem Variation witness": _Rule(
        "growth", variation_candidates, by_variation, _SPREADS,
        lambda w, sigma, tau, m: f"the derivative of order {m} of {sigma}(w x) has a variation "
        f"that grows like w^{m + 1}, its weight like w^{w.order}, and on a unit particle of {tau} "
        f"that variation stays below {rounded_up(w.atom_bound, 3)}",
    ),
}  # fmt: skip


def _in_the_closure(witness: Witness) -> str:
    """Theorem Smoothness witness, second part: ReLU as a uniform limit of a bounded sequence."""
    left, right = witness.target.left, witness.target.right
    if witness.source.homogeneity != 1 or witness.order != 1 or left is None or right is None:
        return ""
    if left.slope == right.slope:
        return ""
    return f"; yet {witness.source.name} lies in the uniform closure of a ball"
