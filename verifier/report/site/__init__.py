"""A site of many reports: an index, a page for each app, feeds; from what `entry` takes of each."""
