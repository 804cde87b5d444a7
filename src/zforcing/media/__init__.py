"""Files of what was drawn."""
