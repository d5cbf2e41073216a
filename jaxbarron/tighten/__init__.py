"""Brackets that optax tightens: both bounds true at every iterate, kept on disk."""

from jaxbarron.tighten.constant import ConstantBracket, tighten_constant
from jaxbarron.tighten.descent import METHODS
from jaxbarron.tighten.run import Step, TightenResult, tighten
from jaxbarron.tighten.store import read_bracket
from jaxbarron.tighten.transport import Transport, transport

__all__ = [
    "METHODS",
    "ConstantBracket",
    "Step",
    "TightenResult",
    "Transport",
    "read_bracket",
    "tighten",
    "tighten_constant",
    "transport",
]
