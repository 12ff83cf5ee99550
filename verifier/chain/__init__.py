"""What independent operators agree on: reads, logs and storage of one chain at one block."""
