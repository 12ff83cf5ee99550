"""From the app id to its contracts: what they allow, since when, and who can change it."""
