"""A network of several nodes on one machine: its plan, its processes, and how they fare."""
