"""What the operands of a scan are, whichever version of JAX wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["scan_split"]


def scan_split(eqn: Any) -> tuple[int, int, int]:
    """The numbers of constants, carried and sliced inputs of a scan.

    Read off the ranks, since the parameters that tell differ between JAX's versions: a sliced
    input, and a stacked output, has one axis more outside than inside; all else has as many.
    """
    body = eqn.params["jaxpr"]
    body = getattr(body, "jaxpr", body)

    def stacked(outer: Sequence[Any], inner: Sequence[Any]) -> int:
        pairs = zip(outer, inner, strict=True)
        return sum(len(o.aval.shape) == len(i.aval.shape) + 1 for o, i in pairs)

    sliced = stacked(eqn.invars, body.invars)
    carry = len(eqn.outvars) - stacked(eqn.outvars, body.outvars)
    return len(eqn.invars) - carry - sliced, carry, sliced
