"""Rigour: scalar programs over Arb balls (python-flint), their tails and their suprema."""
