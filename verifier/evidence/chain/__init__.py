"""What an EVM node answers: calls, logs, proofs."""
