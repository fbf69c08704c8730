"""Engines and the building of indexes on several machines, by Ray; imported only if asked for."""
