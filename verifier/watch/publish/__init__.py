"""A site from reports: what is in a folder, what of it has to be written, and how it is written."""
