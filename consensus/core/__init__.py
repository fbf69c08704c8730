"""The pure part of agreement: events in, actions out; no clock, randomness or I/O."""
