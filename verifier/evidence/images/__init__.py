"""Container images and their signatures."""
