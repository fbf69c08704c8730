"""Everything that touches the world: disk, network, wallets, clock. Import the modules."""
