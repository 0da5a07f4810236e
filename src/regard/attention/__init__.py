"""The core: one equation with replaceable parts, run by the fastest way that can run it. Knows tensors only."""
