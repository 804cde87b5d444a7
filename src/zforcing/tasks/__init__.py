"""Uses of a trained model: sample, continue, interpolate, infer latents."""
