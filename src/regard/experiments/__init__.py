"""The sources' claims and systems, each one command."""
