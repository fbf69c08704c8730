"""What a pallet is made of: storage, calls, events, errors, constants, hooks, metadata."""
