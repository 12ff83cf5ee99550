"""Renderers: an attestation result becomes text. They decide nothing and drop no check."""
