"""Blocks made of attention, and what stands between them."""
