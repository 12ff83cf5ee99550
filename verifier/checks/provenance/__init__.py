"""The images that run: which were named, who signed them, from which source."""
