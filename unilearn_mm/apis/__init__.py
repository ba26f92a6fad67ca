"""From a file to rows: models by name, windows over time, predictions and their outputs."""
