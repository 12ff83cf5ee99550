"""Is the evidence genuine, and what does it prove? The id of a check names its room.

`family.name` stands in `family.py`, or in a module of the folder `family`.
"""
