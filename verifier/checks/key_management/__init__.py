"""Who has the app's keys, and what shows it."""
