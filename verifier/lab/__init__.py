"""A simulated dstack world: PKI, TDs, guests, a KMS and a chain, all of our own making.

Everything is derived from labels, so that a world needs no files and is byte-identical whenever it
is built from the same knobs. None of its keys is secret, and none of it is evidence about any real
machine: its trust anchor is its own.
"""
