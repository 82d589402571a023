"""From trained models to tables: out-of-fold predictions, statistics, baselines, gene sets."""
