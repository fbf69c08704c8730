"""The worker: serves paid sessions, proves its answers, judges those of others; a node's client."""
