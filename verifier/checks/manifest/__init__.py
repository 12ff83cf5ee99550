"""The measured manifest: its rules, and what they are told about the app."""
