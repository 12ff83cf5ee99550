"""Decoded chain events → what was allowed at any block, who could change it, and what that means.

Import the submodules directly.
"""
