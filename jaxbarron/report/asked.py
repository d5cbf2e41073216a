"""What a report is about, and how far it is: each part is made or named among the failures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import jax
import numpy as np

from jaxbarron.errors import JaxbarronError
from jaxbarron.report.data import Failure
from jaxbarron.report.subject import OwnModel, users_code
from jaxbarron.switching import Replacement
from jaxbarron.switching.validate import model_outputs

__all__ = ["Asked", "Parts", "Progress", "outputs_of"]

Progress = Callable[[str, int, int], None]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Asked:
    """What the report is about.

    Attributes:
        subject: the model in words.
        model: on its data.
        rules: from what to what.
        demand: ``tol``, ``particles``, ``reach``, ``direct``.
        planned: what becomes of which site.
        groups: a task for each example, or None.
        latency_batch: rows of one timed call; None: the model's batch.
        outputs: of the model on the data, where they are known.
        output_tol: the tolerance at the outputs from which the kernels come, or None.
    """

    subject: str
    model: OwnModel
    rules: Mapping[Any, Any]
    demand: Mapping[str, Any]
    planned: Sequence[Replacement]
    groups: Any = None
    latency_batch: Any = None
    outputs: np.ndarray | None = None
    output_tol: float | None = None

    @property
    def words(self) -> str:
        """How near, in words."""
        if self.output_tol is not None:
            return f"output tolerance {self.output_tol:g}"
        if self.demand.get("tol") is not None:
            return f"tol {self.demand['tol']:g}"
        if self.demand.get("particles") is not None:
            return f"{self.demand['particles']} particles"
        return "one for one" if self.demand.get("direct") else "kernels given"


@dataclass(eq=False)
class Parts:
    """What failed so far, and who is told how far it is."""

    progress: Progress | None
    failures: list[Failure] = field(default_factory=list[Failure])

    def told(self, part: str) -> Callable[[int, int], None] | None:
        """Say that a part begins; what is to be called with (done, total) of it."""
        tell = self.progress
        if tell is None:
            return None
        tell(part, 0, 0)
        return lambda done, total: tell(part, done, total)

    def tried(self, part: str, make: Callable[[], T], otherwise: T) -> T:
        """What ``make`` makes; where it fails, the failure is noted and the rest goes on."""
        try:
            return make()
        except JaxbarronError as error:
            self.failures.append(Failure(part, str(error)))
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            reason = next(iter(str(error).splitlines()), "")[:300]
            self.failures.append(
                Failure(
                    part,
                    f"given: {part}, which the device refuses ({type(error).__name__}: {reason}); "
                    "expected: room for it; do: choose a smaller batch size if memory ran out",
                )
            )
        return otherwise


def outputs_of(model: OwnModel, fn: Callable[..., Any], what: str) -> np.ndarray:
    """What a model gives on all its inputs, in batches.

    Raises:
        UsageError: it fails.
    """
    with users_code(
        f"{what}, which fails on batches of {model.batch_size} examples",
        "a model that runs on all its inputs",
        "choose a smaller batch size if memory ran out",
    ):
        run = jax.jit(fn)
        return model_outputs(lambda x: run(model.parameters, x), model.inputs, model.batch_size)
