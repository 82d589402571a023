"""Where in a slide something is predicted: tiles, their predictions, pictures, exports."""
