"""What floats need and the reals do not: guards against NaN, stable forms, dead code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxbarron.programs.program import Operand, Operation, Program, Register

__all__ = ["in_the_reals", "without_dead_code"]


def without_dead_code(program: Program) -> Program:
    """The same program without the operations that its output does not use."""
    live: set[int] = set()
    wanted = [program.output]
    while wanted:
        operand = wanted.pop()
        if isinstance(operand, Register) and operand.index > 0 and operand.index not in live:
            live.add(operand.index)
            wanted.extend(program.operations[operand.index - 1].operands)
    renamed = {0: 0} | {old: new for new, old in enumerate(sorted(live), start=1)}

    def rename(operand: Operand) -> Operand:
        return Register(renamed[operand.index]) if isinstance(operand, Register) else operand

    kept = [program.operations[index - 1] for index in sorted(live)]
    return Program(
        tuple(Operation(op.name, tuple(map(rename, op.operands))) for op in kept),
        rename(program.output),
    )


def in_the_reals(
    operation: Operation, written: Sequence[Operation]
) -> tuple[Operation | None, Operand]:
    """Rewrite what floats need and the reals do not; (None, operand) where nothing is left.

    Guards against NaN and infinity (``x != x``, ``x == inf``) are decided, and the stable form
    ``max(a, b) + log1p(exp(-|a - b|))`` becomes ``logaddexp(a, b)`` again: it is analytic, its
    parts are not, and balls would have to be cut to dust around a kink that is not there.
    """
    name, operands = operation.name, operation.operands
    if name == "select_n" and isinstance(operands[0], bool):
        return None, operands[2] if operands[0] else operands[1]
    infinite = [x for x in operands if isinstance(x, float) and not np.isfinite(x)]
    if all(_is_total(x, written) for x in operands if x not in infinite):
        # A guard says something only of operands that are not defined everywhere.
        if name in ("eq", "ne") and len(infinite) == 1:
            return None, name == "ne"
        if name in ("eq", "ne") and not infinite and operands[0] == operands[1]:
            return None, name == "eq"
        if name == "is_finite" and not infinite:
            return None, True

    def produced_by(operand: Operand, expected: str) -> tuple[Operand, ...] | None:
        if not isinstance(operand, Register) or operand.index == 0:
            return None
        source = written[operand.index - 1]
        return source.operands if source.name == expected else None

    if name == "add":
        for larger, rest in (operands, operands[::-1]):
            pair, inner = produced_by(larger, "max"), produced_by(rest, "log1p")
            for expected in ("exp", "neg", "abs", "sub"):
                inner = inner and produced_by(inner[0], expected)
            if pair and inner and set(pair) == set(inner):
                return Operation("logaddexp", pair), False
    return operation, False


# Defined, with a finite value, for all real operands.
_TOTAL = frozenset(
    {
        *("add", "sub", "mul", "neg", "max", "min", "abs", "sign", "square", "clamp", "select_n"),
        *("exp", "exp2", "expm1", "logistic", "tanh", "erf", "erfc", "sin", "cos", "atan"),
        *("sinh", "cosh", "asinh", "logaddexp", "cbrt"),
    }
)


def _is_total(operand: Operand, written: Sequence[Operation]) -> bool:
    if not isinstance(operand, Register):
        return isinstance(operand, bool) or bool(np.isfinite(operand))
    if operand.index == 0:
        return True
    source = written[operand.index - 1]
    total = source.name in _TOTAL or (
        source.name == "integer_pow"
        and isinstance(source.operands[1], float)
        and source.operands[1] >= 0
    )
    real = source.operands[1:] if source.name == "select_n" else source.operands
    return total and all(_is_total(x, written) for x in real)
