"""Static audit of app-compose: what the measured manifest lets the operator do."""
