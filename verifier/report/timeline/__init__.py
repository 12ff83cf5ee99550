"""A timeline in every format."""
