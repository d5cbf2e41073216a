"""The user's own model, metric and data for ``jaxbarron switch --model``, checked at once."""

from __future__ import annotations

import importlib
import os
import re
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxbarron.errors import NonFiniteError, UsageError
from jaxbarron.report.subject import OwnModel, model_of, users_code
from jaxbarron.switching.metrics import METRICS, Metric

__all__ = ["load_data", "load_metric", "load_model", "load_object"]

# ------------------------------------------------------------------ modules


def load_object(option: str, spec: str) -> Any:
    """The callable ``package.module:name``; modules are looked for in the current directory too.

    Raises:
        UsageError: it is not found, cannot be imported, or is no function.
    """
    dotted = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
    if not re.fullmatch(f"{dotted}:{dotted}", spec) or ".py:" in spec:
        raise UsageError(
            f"given: {option} {spec}; expected: package.module:name, dots and one colon; do: for "
            "the function make in own/net.py write own.net:make"
        )
    name, _, path = spec.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as python -m does
    parents = {name.rsplit(".", count)[0] for count in range(name.count(".") + 1)}
    runs, see = "a module that can be imported", f"run python -c 'import {name}' to see the cause"
    with users_code(f"{option} {spec}, whose module fails when it is imported", runs, see):
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in parents:
                raise  # the module is there, and imports one that is not
            raise UsageError(
                f"given: {option} {spec}, but there is no module {error.name}; expected: a module "
                f"in {os.getcwd()} or installed; do: run where the module is found, or install it"
            ) from error
    for step in path.split("."):
        if not hasattr(found, step):
            raise UsageError(
                f"given: {option} {spec}, but {name} has no {path}; expected: a name that the "
                f"module defines; do: look at {getattr(sys.modules[name], '__file__', name)}"
            )
        found = getattr(found, step)
    if not callable(found):
        raise UsageError(
            f"given: {option} {spec}, which is a {type(found).__name__}; expected: a function; do: "
            "define one that returns it"
        )
    return found


def load_metric(spec: str, direction: str | None) -> Metric:
    """The metric of this name, or the user's ``package.module:function``.

    Raises:
        UsageError: unknown, not importable, or its direction is missing or not its own.
    """
    if spec in METRICS:
        if direction is not None:
            better = "higher" if METRICS[spec].higher_is_better else "lower"
            raise UsageError(
                f"given: --metric-direction {direction} for {spec}; expected: it for a metric of "
                f"your own ({spec}: {better} is better); do: leave it out"
            )
        return METRICS[spec]
    if ":" not in spec:
        raise UsageError(
            f"given: --metric {spec}; expected: {', '.join(METRICS)}, or package.module:function "
            "of your own; do: e.g. --metric accuracy"
        )
    if direction not in ("higher", "lower"):
        given = "no --metric-direction" if direction is None else f"--metric-direction {direction}"
        raise UsageError(
            f"given: {given} for {spec}; expected: higher or lower, whichever is better; do: e.g. "
            "--metric-direction higher"
        )
    return Metric(spec, load_object("--metric", spec), higher_is_better=direction == "higher")


# ------------------------------------------------------------------ data


def load_data(file: Path, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """The arrays ``inputs`` and ``labels`` (or ``targets``) of an npz file, of one length.

    Raises:
        UsageError: no such file, no npz file, arrays missing, empty, or of different lengths.
        NonFiniteError: an input is NaN or infinite.
    """
    arrays = _arrays(file)
    wanted = {"classes": ("labels",), "values": ("targets",), "own": ("labels", "targets")}
    names = wanted[metric.labels]
    second = next((name for name in names if name in arrays), None)
    if "inputs" not in arrays or second is None:
        held = ", ".join(sorted(arrays)) or "no array"
        raise UsageError(
            f"given: {file} with {held}; expected: inputs and {' or '.join(names)} for the metric "
            f"{metric.name}; do: np.savez({str(file)!r}, inputs=..., {names[0]}=...)"
        )
    inputs, labels = arrays["inputs"], arrays[second]
    for name, array in (("inputs", inputs), (second, labels)):
        if array.dtype.kind not in "fiub" or array.ndim == 0:
            raise UsageError(
                f"given: {file}, whose {name} have dtype {array.dtype} and shape {array.shape}; "
                "expected: an array of real numbers, examples on the first axis; do: convert it, "
                "e.g. with .astype(np.float32)"
            )
    if len(inputs) != len(labels) or not len(inputs):
        raise UsageError(
            f"given: {file} with {len(inputs)} inputs and {len(labels)} {second}; expected: one "
            "for each, and at least one; do: save both from the same examples"
        )
    broken = ~np.isfinite(inputs.reshape(len(inputs), -1)).all(1)
    if broken.any():
        raise NonFiniteError(
            f"given: {file}, whose inputs hold NaN or infinity in {int(broken.sum())} of "
            f"{len(inputs)} examples, the first of them number {int(broken.argmax())}; expected: "
            "finite inputs; do: drop or fill them as in training"
        )
    return inputs, labels


def _arrays(file: Path) -> dict[str, np.ndarray]:
    if not file.is_file():  # a pipe would be waited for without end
        raise UsageError(
            f"given: --data {file}, which is no file; expected: an npz file; do: "
            "np.savez('val.npz', inputs=..., labels=...)"
        )
    try:
        with file.open("rb") as stream:
            loaded: Any = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise ValueError("one array, as np.save writes it")
            arrays = {name: loaded[name] for name in loaded.files}
            return {name: a for name, a in arrays.items() if isinstance(a, np.ndarray)}
    # zipfile raises NotImplementedError for a compression and RuntimeError for a password
    except (ValueError, EOFError, KeyError, MemoryError, NotImplementedError, RuntimeError,
            zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise UsageError(
            f"given: --data {file}, which is no npz file of plain numbers ({error}); expected: "
            "what np.savez writes; do: np.savez('val.npz', inputs=..., labels=...)"
        ) from error


# ------------------------------------------------------------------ the model


def load_model(
    spec: str, inputs: np.ndarray, labels: np.ndarray, metric: Metric, batch_size: int
) -> OwnModel:
    """The model that the factory makes, checked on the data.

    Raises:
        UsageError: the factory is not found, fails, or returns no (callable, parameters); the model
            refuses the inputs, or gives other outputs when it is called again.
        TraceError: JAX cannot trace the model.
        ShapeError, DtypeError, NonFiniteError: outputs that do not fit the labels, or not finite.
    """
    if batch_size < 1:
        raise UsageError(f"given: --batch-size {batch_size}; expected: at least 1; do: e.g. 256")
    factory = load_object("--model", spec)
    pair = "a function without arguments that returns (callable, parameters)"
    with users_code(f"--model {spec}, which fails", pair, "call it from Python to see the cause"):
        made = factory()
    if not (isinstance(made, tuple | list) and len(made) == 2 and callable(made[0])):
        what = type(made).__name__
        if isinstance(made, tuple | list):
            what = f"({', '.join(type(item).__name__ for item in made)})"
        raise UsageError(
            f"given: --model {spec}, which returns {what}; expected: (callable, parameters) with "
            "callable(parameters, inputs) -> outputs; do: return e.g. (model.apply, variables)"
        )
    apply, parameters = made
    return model_of(f"--model {spec}", apply, parameters, inputs, labels, metric, batch_size)
