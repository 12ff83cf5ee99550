"""Evidence: the bundle of raw bytes, and the parsers that give them types.

Nothing is believed here. A parser says what the bytes are; `checks` says whether that is genuine.
"""
