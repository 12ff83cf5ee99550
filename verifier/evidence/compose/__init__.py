"""The manifest as text: app-compose JSON, Compose YAML, Dockerfiles."""
