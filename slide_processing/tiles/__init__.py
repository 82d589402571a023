"""From a slide to its tissue tiles: reading, scale, grid, stain, quality-control page."""
