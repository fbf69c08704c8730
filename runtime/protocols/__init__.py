"""Formats that two parties must agree on, and the integer mathematics that disputes re-run."""
