"""Training: configuration, the loop, checkpoints, logs. Nothing is imported here: loading a model needs no trainer."""

from __future__ import annotations
