"""The core: one equation with replaceable parts, run by the fastest way that can. Knows tensors only."""
