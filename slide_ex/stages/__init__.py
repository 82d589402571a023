"""The one plan of the pipeline: its stages, how far a project is, which command is next."""
