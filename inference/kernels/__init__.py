"""CUDA kernels of the engine, each beside a torch twin with the same arguments: the truth.

The only room that imports cupy, and only inside the functions that launch or load.
"""
