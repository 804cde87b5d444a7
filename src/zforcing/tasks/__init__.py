"""What a trained model is for: one verb a file."""
