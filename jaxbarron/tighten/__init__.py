"""Brackets that optax tightens: both bounds true at every iterate, kept on disk."""

from jaxbarron.tighten.descent import METHODS
from jaxbarron.tighten.run import Step, TightenResult, tighten
from jaxbarron.tighten.store import read_bracket

__all__ = ["METHODS", "Step", "TightenResult", "read_bracket", "tighten"]
