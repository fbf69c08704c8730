"""A client of the node: signing keys and JSON-RPC, importing nothing of the node itself."""
