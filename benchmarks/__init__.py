"""Benchmarks: each figure beside a peer's, in one run; ``python -m benchmarks``."""
