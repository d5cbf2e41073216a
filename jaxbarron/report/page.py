"""The report as one HTML page without a network."""

from __future__ import annotations

import functools
import math
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from jaxbarron.report import pictures, words
from jaxbarron.report.kept import Range
from jaxbarron.report.knots_removed import PATH_NAME
from jaxbarron.report.whole import SwitchReport

__all__ = ["report_page"]

_PICTURED = 6  # sites whose density is shown at once; the others are folded away
_OUTCOMES = {"safe as it is": "good", "fine-tune": "middling", "do not switch": "bad"}


def report_page(report: SwitchReport) -> str:
    """The page, whole: style and pictures are inside, there is no script and no request."""
    kept, sites = report.kept, report.kept.sites
    return _template().render(
        report=report,
        kept=kept,
        words=words,
        range=_range,
        outcome=_OUTCOMES,
        series=pictures.series,
        layers=Markup(pictures.by_layer(sites)) if sites else None,
        densities=[(site, Markup(pictures.density(site))) for site in sites[:_PICTURED]],
        folded=[(site, Markup(pictures.density(site))) for site in sites[_PICTURED:]],
        curves=_curves(report),
        path_name=PATH_NAME,
        knots=_knots(report),
        pareto=_pareto(report),
        tools=_tools(report),
        style=Markup((resources.files("jaxbarron.report") / "page.css").read_text("utf-8")),
    )


def _curves(report: SwitchReport) -> list[Markup]:
    runs = pictures.runs_of(report)
    if report.training is None or not runs:
        return []
    there = runs, report.training
    return [Markup(pictures.losses(*there)), Markup(pictures.curves(*there))]


def _knots(report: SwitchReport) -> Markup | None:
    if report.path is None or report.training is None:
        return None
    colour = pictures.series(len(report.candidates))
    return Markup(pictures.knots(report.path, report.training, colour))


def _pareto(report: SwitchReport) -> Markup | None:
    there = [c for c in report.candidates if c.worth is not None and math.isfinite(c.observed)]
    return Markup(pictures.pareto(report)) if there else None


def _range(found: Range) -> tuple[str, str, str]:
    (a, b), (c, d) = found.before, found.after
    old, new = found.steps
    return f"{a:.4g} to {b:.4g}", f"{c:.4g} to {d:.4g}", f"{old:.3g} / {new:.3g}"


def _tools(report: SwitchReport) -> list[dict[str, Any]]:
    """One row a kind of tool: the model's answer, then each candidate's."""
    there = [(k, c) for k, c in enumerate(report.candidates) if c.worth is not None]
    if not there:
        return []
    rows: list[dict[str, Any]] = []
    for i, answer in enumerate(there[0][1].worth.tools if there[0][1].worth else ()):
        cells = [c.worth.tools[i].after for _, c in there if c.worth is not None]
        same = len(set(cells)) == 1
        rows.append(
            {
                "tool": answer.tool,
                "before": answer.before,
                "after": cells[0] if same else ", ".join(
                    f"{c.name}: {cell}" for (_, c), cell in zip(there, cells, strict=True)
                ),
                "reason": answer.reason,
            }
        )  # fmt: skip
    return rows


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = (resources.files("jaxbarron.report") / "page.html.j2").read_text("utf-8")
    return environment.from_string(text)
