"""RTMR3 → which app and which manifest, and whether everything that came with them agrees."""
