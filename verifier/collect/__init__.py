"""Collection of evidence: the only part that touches the network.

Everything that is received goes into the bundle as it came, before anyone believes it.
"""
