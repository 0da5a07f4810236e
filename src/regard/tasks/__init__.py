"""From raw input to result."""
