"""Trained models applied to other cohorts, and put into a folder to give away."""
