"""The machine that QEMU builds for a dstack guest, as far as its firmware measures it into RTMR0.

Everything here is arithmetic: from the shape of a machine follow, byte for byte, the tables that
QEMU hands to the firmware, and from those the digests of the firmware's events.
"""
