"""The findings of manifests and Dockerfiles in every format."""
