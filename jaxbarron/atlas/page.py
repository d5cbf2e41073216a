"""The atlas as one HTML page without a network: hierarchy, matrix, and the proof of each pair."""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from jaxbarron.atlas.hierarchy import Link, hierarchy
from jaxbarron.atlas.layout import Drawing, draw
from jaxbarron.balls.notation import all_digits, bracket, rounded_down, rounded_up
from jaxbarron.errors import NonFiniteError, UsageError

__all__ = ["atlas_page"]

_FORMAT, _VERSION = "jaxbarron-atlas", 1
_VERDICTS = {"embedded": "yes", "not embedded": "no", "open": "?", "": ""}

Pair = Mapping[str, Any]


def atlas_page(document: Mapping[str, Any]) -> str:
    """The page of an atlas document, whole: style, script and data are inside.

    It draws the hierarchy, the matrix of all pairs and, for the pair that the address names
    (``#tanh/relu``), verdict, constant, route, kernel, witness and certificate.  Bounds are cut to
    four digits outwards; each number carries its level.  Without scripts the matrix and a table of
    all pairs remain.

    Args:
        document: what :func:`jaxbarron.atlas.atlas_document` returns; any key of a pair but
            ``source`` and ``target`` may be missing or None; a missing order is 1.

    Raises:
        UsageError: not such a document, a pair that stands in it twice, an unknown verdict, or a
            lower bound above the upper one.
        NonFiniteError: a NaN.

    Example:
        >>> pair = {"source": "tanh", "target": "relu", "verdict": "embedded", "upper": 3.4601}
        >>> page = atlas_page({"format": "jaxbarron-atlas", "version": 1, "pairs": [pair]})
        >>> "≤ 3.461" in page, "://" in page
        (True, False)
    """
    _refuse_nan(document, "document")
    pairs = _pairs(document)
    activations = _activations(document, pairs)
    names = list(activations)
    made = hierarchy(names, [_link(p) for p in pairs if p.get("verdict") == "embedded"])
    drawing = draw(made)
    found = {(p["source"], p["target"]): p for p in pairs}
    return _template().render(
        address=_address,
        library=document.get("library") or "",
        activations=activations,
        counts=Counter(p.get("verdict") or "" for p in pairs if p["source"] != p["target"]),
        order=made.order,
        drawing=drawing,
        names=drawing.reading_order,
        rows=_rows(drawing, found),
        pairs=[_row(pair) for pair in pairs],
        style=Markup(_text("page.css")),
        script=Markup(_text("page.js")),
        data=_embedded({"activations": activations, "pairs": [_shown(p) for p in pairs]}),
    )


# ------------------------------------------------------------------ what the document must be


def _refuse(given: str, expected: str, do: str) -> UsageError:
    return UsageError(f"given: {given}; expected: {expected}; do: {do}")


def _pairs(document: Mapping[str, Any]) -> list[Pair]:
    kind = document.get("format"), document.get("version")
    if kind != (_FORMAT, _VERSION):
        raise _refuse(
            f"a document of format and version {kind!r}",
            f"{(_FORMAT, _VERSION)!r}",
            "make it with jaxbarron.atlas.atlas_document",
        )
    pairs: list[Pair] = list(document.get("pairs") or ())
    seen: set[tuple[str, str]] = set()
    for i, pair in enumerate(pairs):
        ends = pair.get("source"), pair.get("target")
        if not all(isinstance(end, str) and end for end in ends):
            raise _refuse(f"pairs[{i}] of {ends!r}", "two names", "name source and target")
        if ends in seen:
            raise _refuse(
                f"the pair {ends!r} twice", "one order for each pair", "make one page an order"
            )
        seen.add((pair["source"], pair["target"]))
        if (pair.get("verdict") or "") not in _VERDICTS:
            raise _refuse(
                f"the verdict {pair['verdict']!r} of {ends!r}",
                f"one of {[v for v in _VERDICTS if v]}",
                "correct the document",
            )
        order = pair.get("order")
        if order is not None and (isinstance(order, bool) or not isinstance(order, int)):
            raise _refuse(f"order = {order!r}", "a whole number or null", "correct the document")
        low, high = (_bound(pair, key) for key in ("lower", "upper"))
        if low is not None and high is not None and low > high:
            raise _refuse(
                f"{low!r} <= C <= {high!r} for {ends!r}",
                "a lower bound that is at most the upper one",
                "report it: one of the two proofs is wrong",
            )
    return pairs


def _bound(holder: Mapping[str, Any], key: str) -> float | None:
    value = holder.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise _refuse(f"{key} = {value!r}", "a number or null", "correct the document")
    return value


def _refuse_nan(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_nan(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _refuse_nan(item, f"{where}[{i}]")
    elif isinstance(value, float) and math.isnan(value):
        raise NonFiniteError(f"given: {where} = nan; expected: a number; do: correct the document")


def _activations(document: Mapping[str, Any], pairs: Sequence[Pair]) -> dict[str, str]:
    """Names with their formulas, "" where none is given."""
    listed = {a["name"]: a.get("formula") or "" for a in document.get("activations") or ()}
    return {**listed, **{p[e]: listed.get(p[e], "") for p in pairs for e in ("source", "target")}}


def _link(pair: Pair) -> Link:
    upper = _bound(pair, "upper")
    order = pair.get("order")
    known = 1 if order is None else order
    return Link(pair["source"], pair["target"], known, math.inf if upper is None else upper)


# ------------------------------------------------------------------ what is shown


def _constant(holder: Mapping[str, Any]) -> str:
    return bracket(_bound(holder, "lower"), _bound(holder, "upper"))


def _gain(pair: Pair) -> str:
    value = _bound(pair, "gain")
    return "-" if value is None else f"{value:.4g}"


def _mark(pair: Pair) -> str:
    """The level beside a constant where space is short; "" means rigorous."""
    level = pair.get("level") or "no level"
    return "" if level == "rigorous" else f" ({level})"


def _address(*names: str) -> str:
    """The part of the page's address that names a pair, or an activation."""
    return "/".join(quote(name, safe="()") for name in names)


def _rows(drawing: Drawing, found: Mapping[tuple[str, str], Pair]) -> list[dict[str, Any]]:
    """The matrix; sources and targets stand in the hierarchy's reading order."""
    names = drawing.reading_order
    return [
        {"source": s, "cells": [_row(found[s, t]) if (s, t) in found else None for t in names]}
        for s in names
    ]


def _row(pair: Pair) -> dict[str, Any]:
    verdict = pair.get("verdict") or ""
    route = pair.get("route") or ()
    constant = _constant(pair)
    return {
        "source": pair["source"],
        "target": pair["target"],
        "address": _address(pair["source"], pair["target"]),
        "order": pair.get("order"),
        "verdict": verdict,
        "cell": constant + _mark(pair)
        if verdict == "embedded" and constant
        else _VERDICTS[verdict],
        "constant": constant,
        "gain": _gain(pair),
        "level": pair.get("level") or "",
        "theorem": pair.get("theorem") or "",
        "reason": pair.get("reason") or "",
        "route": " → ".join([pair["source"], *(e["target"] for e in route)]) if route else "",
    }


def _shown(pair: Pair) -> dict[str, Any]:
    """The pair as the script reads it: bounds as text, the certificate as the text of its file."""
    low, high = _bound(pair, "lower"), _bound(pair, "upper")
    ends = (("≥ ", low), ("≤ ", high))
    witness, certificate = pair.get("witness"), pair.get("certificate")
    shown: dict[str, Any] = {
        "constant": bracket(low, high),
        "digits": ", ".join(f"C {sign}{all_digits(x)}" for sign, x in ends if x is not None),
        "gain": _gain(pair),
        "route": [_constant(edge) for edge in pair.get("route") or ()],
        "mark": _mark(pair),
        "product": bracket(None, high),
        "direct": _constant(pair.get("direct") or {}),
        "ratios": [
            ["not finite" if x is None else all_digits(x), _side(ratio, rounded_down)]
            for x, ratio in (witness or {}).get("ratios") or ()
        ],
        "approximation": [
            [_side(a.get("norm"), rounded_up), _side(a.get("error"), rounded_up)]
            for a in pair.get("approximation") or ()
        ],
    }
    # As text: a script's numbers would not hold every integer of a certificate.
    text = None if certificate is None else json.dumps(certificate, ensure_ascii=False)
    return {**pair, "certificate": text, "shown": shown}


def _side(value: float | None, cut: Callable[[float], str]) -> str:
    """A bound as text; JSON wrote infinities as null."""
    return "not finite" if value is None else cut(value)


# ------------------------------------------------------------------ the files of the page


def _embedded(value: Any) -> Markup:
    """JSON that can stand in a script element: nothing in it closes the element."""
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _plain(value: Any) -> Any:
    """Infinities as text, which JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return all_digits(value) if isinstance(value, float) and math.isinf(value) else value


def _text(name: str) -> str:
    return (resources.files("jaxbarron.atlas") / name).read_text("utf-8")


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_text("page.html.j2"))
