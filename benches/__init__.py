"""Figures, each with its floor or a peer beside it. `python -m benches` runs all."""
