"""The report on a switch: what is kept, what fine-tuning costs, whether it is worth it."""

from jaxbarron.report.data import Thresholds
from jaxbarron.report.knot_removal import KnotRemoval, remove_knots
from jaxbarron.report.make import switch_report
from jaxbarron.report.options import FineTune, ReportOptions
from jaxbarron.report.whole import SwitchReport

__all__ = [
    "FineTune",
    "KnotRemoval",
    "ReportOptions",
    "SwitchReport",
    "Thresholds",
    "remove_knots",
    "switch_report",
]
