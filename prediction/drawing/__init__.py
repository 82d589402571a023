"""The figures of the paper, one module a figure, and their one style."""
