"""The only package that imports libp2p; `host.py` is its face, the rest hardens what it uses."""
