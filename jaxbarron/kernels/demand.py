"""What is asked of a kernel: an error or a size, on R or up to a reach."""

from __future__ import annotations

import math

from jaxbarron.errors import DomainError, ToleranceError, UsageError

__all__ = ["check_demand"]


def check_demand(tol: float | None, particles: int | None, reach: float | None) -> None:
    """Both of ``tol`` and ``particles`` may be missing; ``reach`` None is all of R.

    Raises:
        UsageError: ``tol`` and ``particles`` are both given, or no particle is allowed.
        ToleranceError: the tolerance is not a finite number > 0.
        DomainError: neither is the reach.
    """
    if tol is not None and particles is not None:
        raise UsageError(
            f"given: both tol={tol!r} and particles={particles!r}; expected: one of them; do: give "
            "tol= for an error or particles= for a size"
        )
    if tol is not None and not (math.isfinite(tol) and tol > 0):
        raise ToleranceError(
            f"given: tol={tol!r}; expected: a finite number > 0; do: give the largest error that "
            "you accept, such as 1e-3"
        )
    if particles is not None and particles < 1:
        raise UsageError(
            f"given: particles={particles!r}; expected: at least 1; do: e.g. particles=16"
        )
    if reach is not None and not (math.isfinite(reach) and reach > 0):
        raise DomainError(
            f"given: reach={reach!r}; expected: a finite number > 0, or None for all of R; do: "
            "give the largest |z| that the kernel must serve"
        )
