"""How much the report looks at: the defaults keep a small model under a minute and a half."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxbarron.errors import UsageError

__all__ = ["FineTune", "ReportOptions"]


@dataclass(frozen=True)
class ReportOptions:
    """How long, how often, how many.

    Attributes:
        finetune_steps: of each short run; 0: fine-tuning is not measured.
        evaluations: how often the held-out loss is taken in it.
        finetune_batch: examples a step.
        learning_rate: of Adam, where no optimiser is given.
        held_out: at most so many examples the loss is measured on.
        sizes: particles of the kernels that stand beside what was asked for.
        radius: of the boxes around examples, number by number; None: 1 % of the inputs' range.
        ascent_steps: of the search in the boxes; 0: no search.
        restarts: random starts in each box.
        searched: how many examples have a box.
        boxes: in how many boxes the change is certified; None: one, none for a model of more than
            a million numbers.
        pruned_to: particles a site at the end of the path that starts at the kernels and takes
            knots away in training; 0: no path.
        pairs: alternating pairs of calls that are timed.
        recorded: sites are observed on about so many examples.
        resamples: of the bootstrap.
        seed: of all that is drawn.
    """

    finetune_steps: int = 200
    evaluations: int = 20
    finetune_batch: int = 64
    learning_rate: float = 3e-4
    held_out: int = 512
    sizes: tuple[int, ...] = (2, 4, 8, 16)
    radius: float | None = None
    ascent_steps: int = 30
    restarts: int = 2
    searched: int = 16
    boxes: int | None = None
    pruned_to: int = 2
    pairs: int = 11
    recorded: int = 512
    resamples: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"finetune_steps": 0, "evaluations": 4, "finetune_batch": 1, "held_out": 2,
                 "ascent_steps": 0, "pruned_to": 0, "restarts": 1, "searched": 1, "pairs": 1,
                 "recorded": 1, "resamples": 20, "seed": 0}  # fmt: skip
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise UsageError(
                    f"given: {name}={getattr(self, name)}; expected: at least {lowest}; do: leave "
                    "it out for the default"
                )
        for name in ("learning_rate", "radius"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(
                    f"given: {name}={value}; expected: a finite number > 0; do: leave it out for "
                    "the default"
                )


@dataclass(frozen=True, eq=False)
class FineTune:
    """What a user may set of the fine-tuning itself.

    Attributes:
        train: inputs and labels to train on; None: half of the data, and the loss is measured on
            the other half.
        loss: ``loss(outputs, labels)``, a mean over the examples; None: cross-entropy for whole
            numbers, else the mean square error.
        optimiser: of optax; None: Adam.
    """

    train: tuple[Any, Any] | None = None
    loss: Callable[[Any, Any], Any] | None = None
    optimiser: Any = None
