"""One loop for every model, and what it needs."""
