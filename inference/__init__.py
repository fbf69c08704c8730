"""Inference on a shared backbone: engine, adapters, training, attribution, worker."""
