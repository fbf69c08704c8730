"""Train the base model from scratch; run it with `python -m inference.pretrain`."""
