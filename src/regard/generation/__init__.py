"""One decoding loop over the roles, with its strategies."""
