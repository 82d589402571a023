"""The files of a project folder, one module a format: reading, writing and checking stand together."""
