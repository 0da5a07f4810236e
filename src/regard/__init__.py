"""regard: train attention models on your own data, use them, and see what they attend to."""
