"""Looking inside: the lens, alignments, statistics and pictures. Knows the core, no model."""
