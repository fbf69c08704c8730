"""Proof of Attribution: which records shaped an answer, how much, and in which of their fields."""
