"""What a switched model costs: original, factored, flat and ``jnp.interp``, in alternating runs.

The model is a shallow network, 256 -> 1024 -> 1, whose activation goes to ReLU.  ``jnp.interp`` is
what one would write without this library: the same piecewise linear function by table lookup.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.certify import certified_kernel
from jaxbarron.kernels.factored import kernel_as_activation
from jaxbarron.measures import ParticleMeasure, evaluate, push_forward
from jaxbarron.switching import switch
from jaxbarron.switching.validate import paired_latency

__all__ = ["LARGEST_RATIO", "Cost", "costs", "too_dear"]

# What a switched model may cost, of the original, in both kinds of work.
LARGEST_RATIO = 1.1
_NOISE = 0.05
_INPUTS, _NEURONS, _PARTICLES = 256, 1024, 16
_BATCH = {"cpu": 4096}  # elsewhere enough work to hide the launch of a call
# The activation as models call it, with the name under which it is recognised.
_SOURCES: dict[str, Callable[[Any], Any]] = {
    "gelu_tanh": jax.nn.gelu,
    "gelu": lambda z: jax.nn.gelu(z, approximate=False),
}


@dataclass(frozen=True)
class Cost:
    """Median time of one form, and its paired ratio to the original, with quartiles."""

    source: str
    form: str
    work: str
    seconds: float
    ratio: float
    lower_quartile: float
    upper_quartile: float


def costs(
    quick: bool, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Cost]:
    """The costs of all forms; ``progress`` is given (measured, wanted) after each."""
    batch, pairs = (512, 5) if quick else (_BATCH.get(jax.default_backend(), 65536), 31)
    parameters, x = _network(batch)
    measured: list[Cost] = []
    sources = ("gelu_tanh",) if quick else tuple(_SOURCES)
    for source in sources:
        forms = _forms(source, parameters)
        for work, transform in (("forward", _forward), ("forward+backward", _backward)):
            original = transform(forms["original"])
            for name, form in forms.items():
                heavy = name == "flat"  # about 16 times the work: fewer pairs
                ratio = paired_latency(
                    original,
                    transform(form),
                    parameters,
                    x,
                    pairs=max(3, pairs // 6) if heavy else pairs,
                )
                seconds = ratio.before_seconds if name == "original" else ratio.after_seconds
                spread = ratio.median, ratio.lower_quartile, ratio.upper_quartile
                measured.append(Cost(source, name, work, seconds, *spread))
                progress(len(measured), len(sources) * 2 * len(forms))
    return measured


def too_dear(figures: Sequence[Cost]) -> list[str]:
    """A sentence for each switched model whose median ratio is beyond ``LARGEST_RATIO``.

    Where the original held against itself is off by more than ``_NOISE``, the machine is too busy
    for any verdict, and the sentence says that.
    """
    itself = {(x.source, x.work): x.ratio for x in figures if x.form == "original"}
    found: list[str] = []
    for cost in figures:
        if cost.form != "switched":
            continue
        noise = itself.get((cost.source, cost.work), 1.0)
        if not abs(noise - 1) <= _NOISE:
            found.append(
                f"the original {cost.source} costs {noise:.3f} of itself ({cost.work}): the "
                "machine is too busy to tell"
            )
        elif not cost.ratio <= LARGEST_RATIO:
            found.append(
                f"the switched model of {cost.source} costs {cost.ratio:.3f} of the original "
                f"({cost.work}), more than {LARGEST_RATIO}"
            )
    return found


def _network(batch: int) -> tuple[ParticleMeasure, Any]:
    random = np.random.default_rng(0)
    weights = random.normal(size=(_NEURONS, 1)) / _NEURONS
    directions = random.normal(size=(_NEURONS, _INPUTS)) / np.sqrt(_INPUTS)
    arrays = weights, directions, random.normal(size=_NEURONS)
    measure = ParticleMeasure(*(jnp.asarray(a, jnp.float32) for a in arrays))
    return measure, jnp.asarray(random.normal(size=(batch, _INPUTS)), jnp.float32)


def _forms(source: str, network: ParticleMeasure) -> dict[str, Callable[..., Any]]:
    kernel, _ = certified_kernel(source, "relu", particles=_PARTICLES)
    activation = _SOURCES[source]
    factored = kernel_as_activation(kernel, "relu")
    # The corners of the kernel's graph and one point of each tail: np.interp's own form of it.
    knots = np.sort(-kernel.offsets / kernel.directions[:, 0])
    points = np.concatenate([[knots[0] - 1e3], knots, [knots[-1] + 1e3]])
    terms = np.maximum(np.multiply.outer(points, kernel.directions[:, 0]) + kernel.offsets, 0)
    corners, values = (jnp.asarray(a, jnp.float32) for a in (points, terms @ kernel.weights[:, 0]))

    def model(sigma: Callable[[Any], Any]) -> Callable[..., Any]:
        def apply(mu: ParticleMeasure, x: Any) -> Any:
            return sigma(x @ mu.directions.T + mu.offsets) @ mu.weights

        return apply

    def flat(mu: ParticleMeasure, x: Any) -> Any:
        return evaluate(push_forward(kernel, mu), "relu", x)

    original = model(activation)
    return {
        "original": original,
        "switched": switch(original, {source: (kernel, "relu")}),
        "factored": model(factored),
        "jnp.interp": model(lambda z: jnp.interp(z, corners, values)),
        "flat": flat,
    }


def _forward(apply: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(apply)


def _backward(apply: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(jax.value_and_grad(lambda mu, x: jnp.mean(apply(mu, x) ** 2)))
