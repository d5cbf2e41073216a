"""A transformer encoder of 22 million parameters, switched from GELU to ReLU.

Six layers, 384 wide, 12 heads, feed-forward 1536, normalised after each block, vocabulary 30,522:
the sizes of a small sentence encoder, with random weights made here.  Measured: seconds to find the
sites, to make the certified kernels and to emit the switched function; cosine similarity of the
mean-pooled outputs with those of the original.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.switching import find_activations, plan_switch, switch

__all__ = ["TransformerFigure", "encoder", "parameters", "transformer_figures"]

_WIDTH, _HEADS, _INNER, _LAYERS, _WORDS, _LENGTH = 384, 12, 1536, 6, 30522, 128


@dataclass(frozen=True)
class TransformerFigure:
    """One way to replace GELU, and what it leaves of the outputs.

    ``find_seconds`` is the time to trace the model and find its sites, ``seconds`` the whole time
    from the function to the switched one with its certificates (a table has none).
    """

    form: str
    sites: int
    largest_error: float | None
    find_seconds: float
    seconds: float
    least_cosine: float
    mean_cosine: float
    parameters: int


def parameters(seed: int = 0, layers: int = _LAYERS, words: int = _WORDS) -> dict[str, Any]:
    """Random weights of the variance of a usual initialisation."""
    rng = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> Any:
        return jnp.asarray(rng.normal(size=(rows, columns)) / np.sqrt(rows), jnp.float32)

    def layer() -> dict[str, Any]:
        names = {"q": _WIDTH, "k": _WIDTH, "v": _WIDTH, "o": _WIDTH}
        made = {name: matrix(_WIDTH, size) for name, size in names.items()}
        return made | {"up": matrix(_WIDTH, _INNER), "down": matrix(_INNER, _WIDTH)}

    return {
        "words": jnp.asarray(rng.normal(size=(words, _WIDTH)), jnp.float32),
        "places": jnp.asarray(rng.normal(size=(_LENGTH, _WIDTH)), jnp.float32),
        "layers": [layer() for _ in range(layers)],
    }


def _normalised(x: Any) -> Any:
    y = x - x.mean(-1, keepdims=True)
    return y * jax.lax.rsqrt((y * y).mean(-1, keepdims=True) + 1e-12)


def encoder(params: dict[str, Any], tokens: Any, act: Callable[[Any], Any] | None = None) -> Any:
    """Mean-pooled outputs (batch, 384) of tokens (batch, length)."""
    gelu = act or (lambda z: jax.nn.gelu(z, approximate=False))
    x = _normalised(params["words"][tokens] + params["places"][: tokens.shape[1]])
    for layer in params["layers"]:
        shape = (*x.shape[:2], _HEADS, _WIDTH // _HEADS)
        q, k, v = ((x @ layer[name]).reshape(shape) for name in "qkv")
        scores = jnp.einsum("bihd,bjhd->bhij", q, k) / np.sqrt(shape[-1])
        mixed = jnp.einsum("bhij,bjhd->bihd", jax.nn.softmax(scores), v).reshape(x.shape)
        x = _normalised(x + mixed @ layer["o"])
        x = _normalised(x + gelu(x @ layer["up"]) @ layer["down"])
    return x.mean(1)


def transformer_figures(
    quick: bool, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[TransformerFigure]:
    """Each form beside the original; ``progress`` is given (measured, wanted) after each."""
    layers, words, batch = (2, 500, 2) if quick else (_LAYERS, _WORDS, 8)
    params = parameters(layers=layers, words=words)
    count = sum(x.size for x in jax.tree.leaves(params))
    length = 32 if quick else _LENGTH
    tokens = jax.random.randint(jax.random.key(1), (batch, length), 0, words)
    original = np.asarray(jax.jit(encoder)(params, tokens))
    forms: list[tuple[str, dict[str, Any] | None]] = [
        ("switch, tol 1e-3", {"tol": 1e-3}),
        ("switch, K = 16", {"particles": 16}),
        ("one for one", {"direct": True}),
        ("uniform table of 16 knots", None),
    ]
    forms = forms[1:3] if quick else forms
    figures: list[TransformerFigure] = []
    for name, demand in forms:
        start = time.perf_counter()
        sites, found, error = 0, 0.0, None
        if demand is None:
            new: Callable[..., Any] = lambda p, t: encoder(p, t, _table)  # noqa: E731
        else:
            sites = len(find_activations(encoder, params, tokens))
            found = time.perf_counter() - start
            plan = plan_switch(encoder, {"gelu": "relu"}, params, tokens, **demand)
            error = max(x.certificate.upper for x in plan)
            new = switch(encoder, {x.site.path: (x.kernel, x.target) for x in plan})
            jax.make_jaxpr(new)(params, tokens)
        seconds = time.perf_counter() - start
        cosines = _cosines(original, np.asarray(jax.jit(new)(params, tokens)))
        figures.append(
            TransformerFigure(
                name, sites, error, found, seconds, float(cosines.min()), float(cosines.mean()),
                count,
            )
        )  # fmt: skip
        progress(len(figures), len(forms))
    return figures


def _table(z: Any) -> Any:
    """Linear interpolation of GELU between 16 equal steps of [-4, 4], its lines beyond."""
    knots = jnp.linspace(-4.0, 4.0, 16)
    inside = jnp.interp(z, knots, jax.nn.gelu(knots, approximate=False))
    return jnp.where(jnp.abs(z) < 4, inside, jax.nn.relu(z))


def _cosines(x: Any, y: Any) -> Any:
    x, y = (np.asarray(a, np.float64) for a in (x, y))
    return np.sum(x * y, -1) / (np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1))
