"""Trained models as programs that run without zforcing: `torch.export` and ONNX."""
