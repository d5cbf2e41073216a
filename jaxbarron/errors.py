"""The library's typed errors.

Every message says what was given, what was expected and what to do about it.
All of them derive from :class:`JaxbarronError`; where Python has a fitting
built-in class (``ValueError``, ``TypeError``, ``LookupError``) the error is
one of those too, so code that does not know this library can still catch it.
"""

from __future__ import annotations

__all__ = [
    "CertificateFileError",
    "CheckpointError",
    "DomainError",
    "DtypeError",
    "JaxbarronError",
    "NoSiteError",
    "NonFiniteError",
    "ShapeError",
    "ToleranceError",
    "TraceError",
    "UnknownActivationError",
    "UnreachableTargetError",
    "UnsupportedPrimitiveError",
    "UsageError",
]


class JaxbarronError(Exception):
    """Base of every error that the library raises on purpose."""


class ShapeError(JaxbarronError, ValueError):
    """An array has the wrong rank or shape, or a measure has no particle."""


class DtypeError(JaxbarronError, TypeError):
    """An array is not of a real floating dtype, or dtypes disagree."""


class NonFiniteError(JaxbarronError, ValueError):
    """An array holds NaN or infinity where finite numbers are needed."""


class DomainError(JaxbarronError, ValueError):
    """A domain is empty or unbounded, or a particle leaves the reach of a kernel."""


class ToleranceError(JaxbarronError, ValueError):
    """A tolerance is not positive, or lies below what the stored floats can hold."""


class UsageError(JaxbarronError, ValueError):
    """Arguments that exclude each other, or an option that does not exist."""


class UnknownActivationError(JaxbarronError, LookupError):
    """No activation of that name is registered."""


class UnreachableTargetError(JaxbarronError, ValueError):
    """The library knows no kernel from this source to this target on this domain."""


# NotImplementedError is what JAX itself raises for a primitive without a rule.
class UnsupportedPrimitiveError(JaxbarronError, NotImplementedError):
    """A scalar function uses a JAX primitive for which there is no rule yet."""


class TraceError(JaxbarronError, TypeError):
    """JAX could not trace the given function on the given arguments."""


class NoSiteError(JaxbarronError, LookupError):
    """The function contains no activation that the rules speak of."""


class CertificateFileError(JaxbarronError, ValueError):
    """A file is not a certificate, is truncated, or is of a later version."""


class CheckpointError(JaxbarronError, ValueError):
    """A folder is not a checkpoint, or is one of another problem or of a later version."""
