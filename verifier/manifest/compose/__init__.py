"""A Compose file as Docker Compose reads it: its documents merged, extended and checked."""
