"""The one-page report about a project: facts, warnings, slides, page."""
