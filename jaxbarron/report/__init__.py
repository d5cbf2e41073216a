"""The report on a switch: what is kept, what fine-tuning costs, whether it is worth it."""

from jaxbarron.report.data import SwitchReport, Thresholds
from jaxbarron.report.make import switch_report
from jaxbarron.report.options import FineTune, ReportOptions

__all__ = ["FineTune", "ReportOptions", "SwitchReport", "Thresholds", "switch_report"]
