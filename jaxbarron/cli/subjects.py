"""What ``jaxbarron switch`` switches: the demo's model, or the user's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxbarron.cli.output import working
from jaxbarron.cli.own_model import load_data, load_metric, load_model
from jaxbarron.demo import digits, initial_model, train
from jaxbarron.errors import UsageError
from jaxbarron.report.subject import OwnModel, model_of
from jaxbarron.switching.metrics import ACCURACY

__all__ = ["DEFAULT_BATCH", "Subject", "demo_subject", "own_subject"]

DEFAULT_BATCH = 256
_DEMO_LATENCY_BATCH = 4096


@dataclass(frozen=True, eq=False)
class Subject:
    """What is switched: a model on its data, in words and in JSON.

    Attributes:
        model: the model on its data.
        heading: the first lines of the report.
        fields: the same as JSON fields.
        batch: what the clock runs on.
        examples: what its rows are called.
        trained: what is done to it after the kernels are planned.
        train: inputs and labels to fine-tune on, where there are any.
    """

    model: OwnModel
    heading: str
    fields: dict[str, Any]
    batch: Any
    examples: str = "examples"
    trained: Callable[[], Subject] | None = None
    train: tuple[Any, Any] | None = None


def demo_subject(seed: int) -> Subject:
    """The digits classifier, to be trained when the kernels are planned."""
    if not 0 <= seed < 2**31:
        raise UsageError(
            f"given: --seed {seed}; expected: a whole number from 0 to {2**31 - 1}; do: e.g. 0"
        )
    images, start = digits(), initial_model(seed)
    labels = images.y_validation
    checked = model_of(
        "the demo", start.apply, start.parameters, images.x_validation, labels, ACCURACY,
        len(labels),
    )  # fmt: skip
    # the model's own pytree: it is trained below
    model = replace(
        checked, apply=start.apply, parameters=start.parameters, whole=lambda parameters: parameters
    )
    fields = {"demo": "digits", "seed": seed, "training_examples": len(images.y)}
    batch = jnp.asarray(np.resize(images.x_validation, (_DEMO_LATENCY_BATCH, images.x.shape[1])))
    subject = Subject(model, "", fields, batch, "images", train=(images.x, images.y))

    def trained() -> Subject:
        begin = time.perf_counter()
        with working("training the classifier") as advance:
            parameters = train(start, images, seed=seed, progress=advance).parameters
        heading = (
            f"digits: a flax classifier 64 -> 128 -> 128 -> 10 with GELU, trained on "
            f"{len(images.y)} images in {time.perf_counter() - begin:.1f} s,\n"
            f"validated on {len(labels)} others"
        )
        return replace(subject, model=replace(model, parameters=parameters), heading=heading)

    return replace(subject, trained=trained)


def own_subject(
    spec: str,
    file: Path | None,
    metric: str,
    direction: str | None,
    batch_size: int | None,
    train_file: Path | None = None,
) -> Subject:
    """The user's model on the user's data.

    Raises:
        UsageError: the data, the metric or the model are not what they must be.
        TraceError, ShapeError, DtypeError, NonFiniteError: see
            :func:`jaxbarron.report.subject.model_of`.
    """
    if file is None:
        raise UsageError(
            f"given: --model {spec} without --data; expected: validation data in an npz file; do: "
            "np.savez('val.npz', inputs=..., labels=...), then --data val.npz"
        )
    measured = load_metric(metric, direction)
    inputs, labels = load_data(file, measured)
    more = None if train_file is None else load_data(train_file, measured)
    with working(f"the model of {spec}"):
        size = DEFAULT_BATCH if batch_size is None else batch_size
        model = load_model(spec, inputs, labels, measured, size)
    heading = f"{spec}, validated on {len(inputs)} examples of {file}"
    fields = {
        "model": spec,
        "data": str(file),
        "validation_examples": len(inputs),
        "batch_size": model.batch_size,
    }
    return Subject(model, heading, fields, model.batch, train=more)
