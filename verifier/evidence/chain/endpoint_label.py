"""What an endpoint is called in evidence and reports."""

import hashlib
from urllib.parse import urlsplit


def public_label(endpoint: str) -> str:
    """An endpoint without what may be a key: path and query give way to a digest of them."""
    parts = urlsplit(endpoint)
    origin = f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")
    secret = parts.path.strip("/") + parts.query
    if not secret:
        return origin
    return f"{origin}/#{hashlib.sha256(secret.encode()).hexdigest()[:8]}"
