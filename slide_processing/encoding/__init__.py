"""From tiles to features: the encoders, their weights, and how they are run."""
