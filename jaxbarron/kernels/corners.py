"""The kinks of a function of the user's, read off its program.

Only the optimiser of knots asks: what is missed here costs knots, never the truth of a certificate.
"""

from __future__ import annotations

import numpy as np

from jaxbarron.activations import Activation
from jaxbarron.kernels.density import derivative_values
from jaxbarron.kernels.spline_space import Array, Corner
from jaxbarron.programs import Operand, Operation, Program, Register, evaluate_program

__all__ = ["corners"]

_COMPARISONS = frozenset({"gt", "ge", "lt", "le", "eq", "ne", "max", "min"})
# Points at which the branches are looked at: dense near zero, far enough for any kink of a model.
_GRID = np.sinh(np.linspace(-12.0, 12.0, 20001))
_BESIDE = 1e-5
_NO_JUMP = 1e-6


def corners(sigma: Activation, s: int, bound: float) -> list[Corner]:
    """The kinks within ``|z| < bound`` at which a derivative of order at most s jumps.

    Those that the activation states; where it states none, the places where a comparison in its
    program changes and a derivative with it.

    Example:
        >>> from jaxbarron.activations import activation
        >>> import jax.numpy as jnp
        >>> found = corners(activation(lambda z: jnp.minimum(z, 2.0), name="mine"), 1, 10.0)
        >>> [(x.location, x.order) for x in found]
        [(2.0, 1)]
    """
    stated: list[Corner] = []
    for kink in sigma.kinks:
        order = next((j for j, jump in enumerate(kink.jumps) if jump), s + 1)
        if abs(kink.location) < bound and order <= s:
            stated.append(Corner(kink.location, order, kink.jumps[order]))
    if sigma.kinks:
        return stated
    places = _branch_points(sigma.program)
    return _with_jumps(sigma, s, places[np.abs(places) < bound])


def _branch_points(program: Program) -> Array:
    """Where a comparison of the program changes, ascending."""
    found: set[float] = set()
    for first, second in _compared(program):
        difference = Program(
            (*program.operations, Operation("sub", (first, second))),
            Register(len(program.operations) + 1),
        )
        for sign in (1.0, -1.0):

            def is_beyond(z: Array, difference: Program = difference, sign: float = sign) -> Array:
                return sign * evaluate_program(difference, z) > 0

            beyond = is_beyond(_GRID)
            changes = np.flatnonzero(beyond[1:] != beyond[:-1])
            low, high = _GRID[changes], _GRID[changes + 1]
            for _ in range(100):
                middle = low / 2 + high / 2
                same = is_beyond(middle) == beyond[changes]
                low, high = np.where(same, middle, low), np.where(same, high, middle)
            found.update(np.where(beyond[changes], high, low).tolist())
    return np.array(sorted(found))


def _compared(program: Program) -> list[tuple[Operand, Operand]]:
    pairs: list[tuple[Operand, Operand]] = []
    for operation in program.operations:
        operands = operation.operands
        if operation.name in _COMPARISONS:
            pairs.append((operands[0], operands[1]))
        elif operation.name == "clamp":
            pairs += [(operands[1], operands[0]), (operands[1], operands[2])]
        elif operation.name in ("abs", "sign"):
            pairs.append((operands[0], 0.0))
    return [pair for pair in pairs if any(isinstance(x, Register) for x in pair)]


def _with_jumps(sigma: Activation, s: int, places: Array) -> list[Corner]:
    if not places.size:
        return []
    step = _BESIDE * (1 + np.abs(places))
    before, after = (
        np.stack([derivative_values(sigma, j, places + side * step) for j in range(s + 2)])
        for side in (-1, 1)
    )
    kept: list[Corner] = []
    for i, place in enumerate(places.tolist()):
        if kept and place - kept[-1].location <= 2 * step[i]:
            continue
        for j in range(s + 1):
            # both values carried to the place itself, to the first order
            low = before[j, i] + step[i] * before[j + 1, i]
            high = after[j, i] - step[i] * after[j + 1, i]
            if abs(high - low) > _NO_JUMP * (1 + abs(low) + abs(high)):
                kept.append(Corner(place, j, float(high - low)))
                break
    return kept
