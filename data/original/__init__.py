"""Projects of the published scripts, read without running anything in their pickles."""
