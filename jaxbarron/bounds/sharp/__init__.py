"""Sharp embedding constants into RePU_s: one supremum over the reach, rigorous on both sides."""

from jaxbarron.bounds.sharp.evidence import Dual, Evidence, Plan, Stage
from jaxbarron.bounds.sharp.proof import SharpConstant, check_evidence
from jaxbarron.bounds.sharp.search import sharp_constant

__all__ = [
    "Dual",
    "Evidence",
    "Plan",
    "SharpConstant",
    "Stage",
    "check_evidence",
    "sharp_constant",
]
