"""Handing a model over: a folder with what is needed to use it and a model card, and the Hugging Face Hub."""
