"""A model on the data that it is validated with: taken apart, and checked before it is switched."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from jaxbarron.errors import JaxbarronError, NonFiniteError, TraceError, UsageError
from jaxbarron.switching.metrics import Metric, check_labels
from jaxbarron.switching.validate import model_outputs

__all__ = ["OwnModel", "model_of", "on_device", "users_code"]

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
        trainable: for each leaf of ``parameters`` whether training may change it.
        whole: from such arrays to parameters as the user gave them.
    """

    apply: Callable[[Any, Any], Any]
    parameters: Any
    inputs: Any
    labels: np.ndarray
    metric: Metric
    batch_size: int
    trainable: tuple[bool, ...] = ()
    whole: Callable[[Any], Any] = lambda arrays: arrays

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


# ------------------------------------------------------------------ taken apart and checked


def model_of(
    what: str,
    apply: Callable[..., Any],
    parameters: Any,
    inputs: Any,
    labels: Any,
    metric: Metric,
    batch_size: int,
    trainable: Callable[[str, Any], bool] | None = None,
) -> OwnModel:
    """A callable and its parameters on data, checked by two calls.

    Args:
        what: what the model is called in messages.
        apply: ``apply(parameters, inputs) -> outputs``, in inference mode.
        parameters: any pytree; what is no array in it may steer Python.
        inputs: shape (n, ...).
        labels: shape (n, ...).
        metric: what is measured.
        batch_size: how many rows at once; at most n is used.
        trainable: ``trainable(path, array)``: which arrays training may change; None: the floating
            ones, of flax nnx those that are ``nnx.Param``, of a mapping with ``"params"`` those
            under it.

    Raises:
        UsageError: the model refuses the inputs, draws random numbers, or gives other outputs when
            it is called again.
        TraceError: JAX cannot trace it.
        ShapeError, DtypeError, NonFiniteError: outputs that do not fit the labels, or not finite.
    """
    fn, arrays, mask, whole = _taken_apart(apply, parameters, trainable)
    model = OwnModel(
        fn,
        arrays,
        on_device(inputs),
        np.asarray(labels),
        metric,
        min(batch_size, len(inputs)),
        mask,
        whole,
    )
    _check_call(what, model)
    return model


def on_device(inputs: Any) -> Any:
    """Rows as JAX holds them.

    Raises:
        NonFiniteError: a number that the dtype does not hold.
    """
    with np.errstate(over="ignore"):
        rows = jnp.asarray(inputs)
    held = np.asarray(rows)
    if not (np.isfinite(held) if held.dtype.kind == "f" else held == np.asarray(inputs)).all():
        raise NonFiniteError(
            f"given: inputs from {np.min(inputs)} to {np.max(inputs)}; expected: finite numbers "
            f"that JAX's {rows.dtype} holds; do: scale them, drop those that are not finite, or "
            "set JAX_ENABLE_X64=1"
        )
    return rows


def _taken_apart(
    fn: Callable[..., Any], parameters: Any, trainable: Callable[[str, Any], bool] | None
) -> tuple[Callable[..., Any], list[Any], tuple[bool, ...], Callable[[Any], Any]]:
    """The function of the arrays among the parameters; numbers and objects may steer Python."""
    leaves, tree = jax.tree.flatten(parameters)
    places = [k for k, x in enumerate(leaves) if isinstance(x, jax.Array | np.ndarray | np.generic)]
    mask = _mask(parameters, trainable)

    def whole(arrays: Sequence[Any]) -> Any:
        filled = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        return jax.tree.unflatten(tree, filled)

    def apply(arrays: Sequence[Any], inputs: Any) -> Any:
        return fn(whole(arrays), inputs)

    return apply, [leaves[k] for k in places], tuple(mask[k] for k in places), whole


def _mask(parameters: Any, trainable: Callable[[str, Any], bool] | None) -> list[bool]:
    """For each leaf whether it is trained; statistics of a batch norm, say, are not."""
    from flax import nnx  # half a second that whoever imports the library need not wait

    whole = isinstance(parameters, Mapping) and "params" in parameters
    mask: list[bool] = []
    for path, found in jax.tree_util.tree_flatten_with_path(
        parameters, is_leaf=lambda x: isinstance(x, nnx.Variable)
    )[0]:
        kept = not isinstance(found, nnx.Variable) or isinstance(found, nnx.Param)
        kept = kept and not (whole and getattr(path[0], "key", None) != "params")
        for inner, leaf in jax.tree_util.tree_flatten_with_path(found)[0]:
            floating = jnp.issubdtype(getattr(leaf, "dtype", bool), jnp.floating)
            name = jax.tree_util.keystr((*path, *inner))
            mask.append(bool(floating and (kept if trainable is None else trainable(name, leaf))))
    return mask


def _check_call(what: str, model: OwnModel) -> None:
    where = f"inputs of shape {model.batch.shape} and dtype {model.batch.dtype}"
    jaxpr = _traced(what, model, where)
    if _uses_random_bits(jaxpr.jaxpr):
        raise UsageError(
            f"given: {what}, whose outputs depend on random numbers that it draws; "
            f"expected: a function of parameters and inputs; do: {_HOW_TO_TURN_OFF}"
        )
    outputs = jaxpr.out_avals
    if len(outputs) != 1 or outputs[0].shape[:1] != model.batch.shape[:1]:
        shapes = ", ".join(str(a.shape) for a in outputs) or "no array"
        raise UsageError(
            f"given: {what}, whose outputs on {where} are {shapes}; expected: one array "
            "with a row for each input; do: pick one output in the factory, and map a function of "
            "one example with jax.vmap"
        )
    check_labels(model.metric, (len(model.inputs), *outputs[0].shape[1:]), model.labels)
    again: list[np.ndarray] = []
    with users_code(
        f"{what}, which fails when it is run on {where}",
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
            f"given: {what}, whose outputs differ by {change:.3g} between two calls on the "
            "same inputs; expected: a function of parameters and inputs; do: "
            f"{_HOW_TO_TURN_OFF}"
        )


def _traced(what: str, model: OwnModel, where: str) -> Any:
    fails = f"{what}, which fails on {where}"
    expected = "callable(parameters, inputs) -> outputs, inputs with the examples first"
    do = "save inputs as the model takes them; map a function of one example with jax.vmap"
    try:
        with users_code(fails, expected, do):
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
            f"given: {what}, which runs on {where} but which JAX cannot trace "
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
