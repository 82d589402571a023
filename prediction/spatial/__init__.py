"""Spots with measured expression on a slide, compared with the predictions of its tiles."""
