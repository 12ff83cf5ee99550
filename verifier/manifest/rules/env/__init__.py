"""ENV: what the operator's variables decide."""
