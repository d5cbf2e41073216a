"""Deep networks: how far a network with replaced activations can stray from the original."""
