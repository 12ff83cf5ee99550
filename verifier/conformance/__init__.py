"""Whether a verifier, ours or any other, tells forged evidence from honest evidence."""
