"""Is the evidence genuine, and what does it prove? One module per link of the chain."""
