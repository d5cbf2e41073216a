"""The report as a JSON document."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from jaxbarron.report.whole import SwitchReport

__all__ = ["SCHEMA", "VERSION", "report_document"]

SCHEMA, VERSION = "jaxbarron-switch-report", 1


def report_document(report: SwitchReport) -> dict[str, Any]:
    """Every figure of the report under the names of its fields.

    Infinities and NaN become None, which JSON writes as null.

    Example:
        >>> from jaxbarron.report.kept import Range
        >>> _plain(Range((0.0, 1.0), (0.0, math.inf)))
        {'before': [0.0, 1.0], 'after': [0.0, None]}
    """
    return {"schema": SCHEMA, "version": VERSION, **_plain(report)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
