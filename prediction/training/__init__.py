"""Nested cross-validation: folds, networks, and the folder of each trained model."""
