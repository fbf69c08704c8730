"""The `openledger` command and its subcommands."""
