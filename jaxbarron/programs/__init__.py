"""Scalar programs: a function of one real variable as straight-line code.

JAX traces the function once; calls are inlined and every literal is kept as
the exact double that it is.  The same program is then run by NumPy and JAX
(:mod:`jaxbarron.programs.evaluation`), by ball arithmetic
(:mod:`jaxbarron.balls.series`) and by the tail calculus
(:mod:`jaxbarron.balls.tails`), and it is what a certificate stores when its
source is a user's own function.

A program speaks about the *real* function that its constants define:
conversions between floating dtypes are the identity.
"""

from jaxbarron.programs.evaluation import evaluate_program
from jaxbarron.programs.loops import scan_split
from jaxbarron.programs.program import ARITY, Operand, Operation, Program, Register
from jaxbarron.programs.tracing import INLINED_CALLS, program_of_jaxpr, trace

__all__ = [
    "ARITY",
    "INLINED_CALLS",
    "Operand",
    "Operation",
    "Program",
    "Register",
    "evaluate_program",
    "program_of_jaxpr",
    "scan_split",
    "trace",
]
