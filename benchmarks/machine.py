"""Where and with what the figures were measured."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

import jax

__all__ = ["machine"]


def machine() -> dict[str, Any]:
    """Processor, device and versions, as JSON fields."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("jax", "jaxlib", "numpy", "scipy")},
    }


def _cores() -> int | None:
    # those that this process may use, where the system tells
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line.split(":", 1) for line in file if line.startswith("model name")]
    except OSError:
        lines = []
    return lines[0][1].strip() if lines else platform.processor() or platform.machine()
