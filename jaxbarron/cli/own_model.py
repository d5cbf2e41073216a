"""The user's own model, metric and data for ``jaxbarron switch --model``, checked at once."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from jaxbarron.errors import JaxbarronError, NonFiniteError, TraceError, UsageError
from jaxbarron.switching.metrics import METRICS, Metric, check_labels
from jaxbarron.switching.validate import model_outputs

__all__ = ["OwnModel", "load_data", "load_metric", "load_model", "users_code"]

_RANDOM_BITS = frozenset(
    {"random_bits", "random_gamma", "rng_uniform", "rng_bit_generator", "threefry2x32"}
)
_HOW_TO_TURN_OFF = (
    "turn dropout and noise off in the factory: flax nnx model.eval(), flax linen "
    "deterministic=True or train=False, equinox eqx.nn.inference_mode(model), haiku "
    "is_training=False; draw other random numbers there once"
)


@dataclass(frozen=True, eq=False)
class OwnModel:
    """A model taken apart, on the data that it is validated with.

    Attributes:
        apply: ``apply(parameters, inputs)``: rows of inputs to rows of outputs.
        parameters: the arrays among the user's parameters; what is no array stays in ``apply``.
        inputs: shape (n, ...), of a dtype that JAX has.
        labels: n labels or targets.
        metric: the metric.
        batch_size: how many rows ``apply`` takes at once.
    """

    apply: Callable[[Any, Any], Any]
    parameters: Any
    inputs: Any
    labels: np.ndarray
    metric: Metric
    batch_size: int

    @property
    def batch(self) -> Any:
        """The first rows, as many as ``apply`` takes at once."""
        return self.inputs[: self.batch_size]


@contextlib.contextmanager
def users_code(what: str, expected: str, do: str) -> Generator[None]:
    """Run code of the user's: what it prints goes to stderr, what it raises into one message."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except JaxbarronError:
        raise
    except (Exception, SystemExit) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        reason = f"{type(error).__name__}: {reason[:300]}" if reason else type(error).__name__
        raise UsageError(f"given: {what} ({reason}); expected: {expected}; do: {do}") from error


# ------------------------------------------------------------------ modules


def _attribute(option: str, spec: str) -> Any:
    """The object ``package.module:name``; modules are looked for in the current directory too."""
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
    return Metric(spec, _attribute("--metric", spec), higher_is_better=direction == "higher")


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
    factory = _attribute("--model", spec)
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
    apply, arrays = _taken_apart(*made)
    with np.errstate(over="ignore"):
        rows = jnp.asarray(inputs)
    held = np.asarray(rows)
    if not (np.isfinite(held) if held.dtype.kind == "f" else held == inputs).all():
        raise NonFiniteError(
            f"given: inputs from {inputs.min()} to {inputs.max()}; expected: numbers that JAX's "
            f"{rows.dtype} holds; do: scale them, or set JAX_ENABLE_X64=1"
        )
    model = OwnModel(apply, arrays, rows, labels, metric, min(batch_size, len(inputs)))
    _check_call(spec, model)
    return model


def _taken_apart(fn: Callable[..., Any], parameters: Any) -> tuple[Callable[..., Any], list[Any]]:
    """The function of the arrays among the parameters; numbers and objects may steer Python."""
    leaves, tree = jax.tree.flatten(parameters)
    places = [k for k, x in enumerate(leaves) if isinstance(x, jax.Array | np.ndarray | np.generic)]

    def apply(arrays: list[Any], inputs: Any) -> Any:
        whole = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            whole[place] = array
        return fn(jax.tree.unflatten(tree, whole), inputs)

    return apply, [leaves[k] for k in places]


def _check_call(spec: str, model: OwnModel) -> None:
    where = f"inputs of shape {model.batch.shape} and dtype {model.batch.dtype}"
    jaxpr = _traced(spec, model, where)
    if _uses_random_bits(jaxpr.jaxpr):
        raise UsageError(
            f"given: --model {spec}, whose outputs depend on random numbers that it draws; "
            f"expected: a function of parameters and inputs; do: {_HOW_TO_TURN_OFF}"
        )
    outputs = jaxpr.out_avals
    if len(outputs) != 1 or outputs[0].shape[:1] != model.batch.shape[:1]:
        shapes = ", ".join(str(a.shape) for a in outputs) or "no array"
        raise UsageError(
            f"given: --model {spec}, whose outputs on {where} are {shapes}; expected: one array "
            "with a row for each input; do: pick one output in the factory, and map a function of "
            "one example with jax.vmap"
        )
    check_labels(model.metric, (len(model.inputs), *outputs[0].shape[1:]), model.labels)
    again: list[np.ndarray] = []
    with users_code(
        f"--model {spec}, which fails when it is run on {where}",
        "callable(parameters, inputs) -> outputs",
        "choose a smaller --batch-size if memory ran out; or call it from Python",
    ):
        for _ in range(2):  # traced anew each time: NumPy's random numbers are constants of a trace
            run = jax.jit(lambda *args: model.apply(*args))
            again.append(model_outputs(lambda x, run=run: run(model.parameters, x), model.batch))
    # The same program twice; on a GPU its sums may come in another order.
    slack = float(np.sqrt(float(jnp.finfo(jnp.float32).eps))) * np.abs(again[0]).max(initial=1e-30)
    change = float(np.abs(again[0] - again[1]).max())
    if change > slack:
        raise UsageError(
            f"given: --model {spec}, whose outputs differ by {change:.3g} between two calls on the "
            "same inputs; expected: a function of parameters and inputs; do: "
            f"{_HOW_TO_TURN_OFF}"
        )


def _traced(spec: str, model: OwnModel, where: str) -> Any:
    what = f"--model {spec}, which fails on {where}"
    expected = "callable(parameters, inputs) -> outputs, inputs with the examples first"
    do = "save inputs as the model takes them; map a function of one example with jax.vmap"
    try:
        with users_code(what, expected, do):
            return jax.make_jaxpr(model.apply)(model.parameters, model.batch)
    except UsageError as refused:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                model.apply(model.parameters, model.batch)
        except (Exception, SystemExit):
            raise refused from None
        cause = refused.__cause__
        first = next(iter(str(cause).splitlines()), "")
        raise TraceError(
            f"given: --model {spec}, which runs on {where} but which JAX cannot trace "
            f"({type(cause).__name__}: {first[:300]}); expected: a pure JAX function; do: if the "
            "model changes itself when it is called, "
            f"{_HOW_TO_TURN_OFF}, and put batch norm in inference mode"
        ) from cause


def _uses_random_bits(jaxpr: Any) -> bool:
    """Whether an output depends on an equation that draws random bits.

    In a body of another equation every output counts as used.
    """
    used = {var for var in jaxpr.outvars if not isinstance(var, jex.Literal)}
    for eqn in reversed(jaxpr.eqns):
        if not used.intersection(eqn.outvars):
            continue
        if eqn.primitive.name in _RANDOM_BITS:
            return True
        if any(_uses_random_bits(body) for value in eqn.params.values() for body in _bodies(value)):
            return True
        used.update(var for var in eqn.invars if not isinstance(var, jex.Literal))
    return False


def _bodies(value: Any) -> list[Any]:
    if isinstance(value, tuple | list):
        return [body for item in value for body in _bodies(item)]
    if isinstance(value, jex.ClosedJaxpr):
        return [value.jaxpr]
    return [value] if isinstance(value, jex.Jaxpr) else []
