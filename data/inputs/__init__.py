"""The inputs of a project from one's own files: ids, expression, features of other tools."""
