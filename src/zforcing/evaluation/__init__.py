"""Measuring a trained model, and reporting it."""
