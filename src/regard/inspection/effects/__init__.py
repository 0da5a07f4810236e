"""What heads do: change them, prune them, ask what follows."""
