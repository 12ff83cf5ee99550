"""Static audit of app-compose: what the measured manifest lets the operator do."""

from verifier.manifest.audit import ManifestAudit, audit_manifest
from verifier.manifest.context import Context

__all__ = ["Context", "ManifestAudit", "audit_manifest"]
