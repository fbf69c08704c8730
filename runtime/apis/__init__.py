"""The runtime APIs: what wallets and explorers ask of a state without a transaction."""
