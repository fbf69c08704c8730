"""JSON-RPC: the public door of the node, over HTTP and WebSocket on one port."""
