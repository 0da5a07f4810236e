"""Pictures of attention: terminal, figures, pages, notebooks."""
