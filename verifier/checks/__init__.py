"""Is the evidence genuine, and what does it prove?

A check's id names its room: `family.name` stands in `family.py`, or in the folder `family`.
"""
