"""The witness log: an append-only Merkle tree of what was observed, in files that anybody can hold
against a signed checkpoint."""
