"""The pallets; none imports another, `runtime.construct` wires them."""
