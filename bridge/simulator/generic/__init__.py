"""Our own contract, docs/provider-contract.md: signed JSON in one phase, and callbacks."""
