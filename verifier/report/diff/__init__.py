"""A comparison of two manifests in every format."""
