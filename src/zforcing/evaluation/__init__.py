"""Measuring a trained model, and reporting it."""

from __future__ import annotations
