"""The tables of results, target by target."""
