"""Training into a folder: its configuration, recipes, checkpoints and log."""
