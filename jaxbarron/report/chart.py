"""A small chart as inline SVG: axes, lines, dots, bars and labels; colours come from the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

__all__ = ["Axis", "Chart", "ticks_of"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 18.0, 14.0, 44.0


@dataclass(frozen=True)
class Axis:
    """One axis: from where to where, in which scale, and its label.

    A log axis starts above zero.  Ticks of a ``whole`` axis are whole numbers.
    """

    low: float
    high: float
    label: str
    scale: Literal["linear", "log"] = "linear"
    whole: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high one; beyond them, cut off."""
        if self.scale == "log":
            low, high = math.log(self.low), math.log(self.high)
            where = (math.log(max(value, 1e-300)) - low) / (high - low)
        else:
            where = (value - self.low) / (self.high - self.low)
        return min(max(where, -0.02), 1.02)


def ticks_of(axis: Axis, about: int = 5) -> list[tuple[float, str]]:
    """Round values on an axis, with their labels.

    Example:
        >>> [text for _, text in ticks_of(Axis(0.0, 1.0, ""))]
        ['0', '0.2', '0.4', '0.6', '0.8', '1']
        >>> [text for _, text in ticks_of(Axis(1e-3, 10.0, "", "log"))]
        ['0.001', '0.01', '0.1', '1', '10']
    """
    if axis.scale == "log":
        low, high = math.ceil(math.log10(axis.low) - 1e-9), math.floor(math.log10(axis.high) + 1e-9)
        if high - low >= 1:
            step = max(1, (high - low) // about)
            return [(10.0**k, _text(10.0**k)) for k in range(low, high + 1, step)]
        ends = (axis.low, math.sqrt(axis.low * axis.high), axis.high)
        return [(x, f"{x:.2g}") for x in ends]
    rough = (axis.high - axis.low) / about
    rough = max(rough, 1.0) if axis.whole else rough
    power = 10.0 ** math.floor(math.log10(rough))
    step = min(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(axis.low / step - 1e-9)
    last = math.floor(axis.high / step + 1e-9)
    return [(k * step, _text(k * step)) for k in range(first, last + 1)]


def _text(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e") if (
        abs(value) >= 1e5 or abs(value) < 1e-3
    ) else f"{value:.6g}"  # fmt: skip


@dataclass
class Chart:
    """A picture that is built up and then written as SVG.

    Attributes:
        title: what it shows, for readers who do not see it.
        x: the horizontal axis.
        y: the vertical one.
        width: in units of the picture.
        height: the same.
    """

    title: str
    x: Axis
    y: Axis
    width: float = 620.0
    height: float = 320.0
    _parts: list[str] = field(default_factory=list[str])
    _labels: list[tuple[float, float, float]] = field(
        default_factory=list[tuple[float, float, float]]
    )

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point in the picture."""
        wide, high = self.width - _LEFT - _RIGHT, self.height - _TOP - _BOTTOM
        return (
            round(_LEFT + self.x.place(x) * wide, 2),
            round(_TOP + (1 - self.y.place(y)) * high, 2),
        )

    def line(self, xs: Sequence[float], ys: Sequence[float], name: str) -> None:
        """A broken line; ``name`` is its class."""
        points = " ".join("{},{}".format(*self.at(a, b)) for a, b in zip(xs, ys, strict=True))
        self._parts.append(f'<polyline class="line {name}" points="{points}"/>')

    def band(
        self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], name: str
    ) -> None:
        """The area between two curves."""
        there = [self.at(a, b) for a, b in zip(xs, high, strict=True)]
        back = [self.at(a, b) for a, b in zip(xs, low, strict=True)][::-1]
        points = " ".join(f"{a},{b}" for a, b in (*there, *back))
        self._parts.append(f'<polygon class="band {name}" points="{points}"/>')

    def level(self, y: float, name: str, text: str = "", below: bool = False) -> None:
        """A line across at one height, labelled at its right end above it, or below."""
        (a, b), (c, _) = self.at(self.x.low, y), self.at(self.x.high, y)
        self._parts.append(f'<line class="{name}" x1="{a}" y1="{b}" x2="{c}" y2="{b}"/>')
        if text:
            place = f'x="{c - 4}" y="{b + 13 if below else b - 5}" text-anchor="end"'
            self._parts.append(f'<text class="note" {place}>{escape(text)}</text>')

    def dot(self, x: float, y: float, name: str, title: str = "", filled: bool = True) -> None:
        """A point, with a text that shows under the pointer."""
        a, b = self.at(x, y)
        kind = "dot" if filled else "dot hollow"
        self._parts.append(
            f'<circle class="{kind} {name}" cx="{a}" cy="{b}" r="5"><title>{escape(title)}</title>'
            "</circle>"
        )

    def mark(self, x: float, y: float, name: str) -> None:
        """A short stroke, for a knot."""
        a, b = self.at(x, y)
        self._parts.append(f'<line class="{name}" x1="{a}" x2="{a}" y1="{b - 5}" y2="{b + 5}"/>')

    def text(self, x: float, y: float, text: str) -> None:
        """Words beside a point, moved up or down where others stand already."""
        a, b = self.at(x, y)
        wide = 6.6 * len(text)
        for dy in (4.0, 18.0, -10.0, 32.0, -24.0, 46.0):
            taken = [
                (left, right)
                for left, right, height in self._labels
                if abs(height - b - dy) < 13 and left < a + 8 + wide and a + 8 < right
            ]
            if not taken:
                break
        self._labels.append((a + 8, a + 8 + wide, b + dy))
        self._parts.append(f'<text class="label" x="{a + 8}" y="{b + dy}">{escape(text)}</text>')

    def svg(self) -> str:
        """The picture, with its axes."""
        wide, high = self.width, self.height
        low, right = high - _BOTTOM, wide - _RIGHT
        axes = [f'<path class="axis" d="M{_LEFT} {_TOP}V{low}H{right}"/>']
        for value, text in ticks_of(self.x, 7):
            a, _ = self.at(value, self.y.low)
            axes.append(f'<path class="axis" d="M{a} {low}v4"/>')
            axes.append(f'<text x="{a}" y="{low + 17}" text-anchor="middle">{text}</text>')
        for value, text in ticks_of(self.y):
            _, b = self.at(self.x.low, value)
            axes.append(f'<path class="grid" d="M{_LEFT} {b}H{right}"/>')
            axes.append(f'<text x="{_LEFT - 7}" y="{b + 4}" text-anchor="end">{text}</text>')
        middle = (_TOP + low) / 2
        axes.append(
            f'<text class="name" x="{(_LEFT + right) / 2}" y="{high - 6}" text-anchor="middle">'
            f"{escape(self.x.label)}</text>"
            f'<text class="name" transform="translate(13 {middle}) rotate(-90)" '
            f'text-anchor="middle">{escape(self.y.label)}</text>'
        )
        return (
            f'<svg class="chart" role="img" aria-label="{escape(self.title)}" '
            f'viewBox="0 0 {wide:g} {high:g}">' + "".join([*axes, *self._parts]) + "</svg>"
        )
