"""Whole-slide images as files: what belongs to one, how it is opened, at which scale it was scanned."""
