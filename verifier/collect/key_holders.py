"""What is asked about the guest that a KMS runs in, and the certificate that it shows."""

import hashlib
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from verifier.collect import requests
from verifier.collect.http import Response
from verifier.collect.requests import Request
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.plan import KeyHolderPlan, SubjectPlan, cluster_of
from verifier.evidence.td.ra_tls import to_pem
from verifier.model.identifiers import KEY_HOLDER

_ANSWERS: Final = (Kind.KMS_META, Kind.KMS_ENV_KEY)


def record_certificate(
    builder: BundleBuilder, request: Request, answer: Response, moment: int
) -> str:
    """Record the certificate of the TLS session in which a KMS answered, as evidence of its own;
    its sha256 (hex), by which the answer names it, or "" for any other answer."""
    der = answer.peer_certificate
    if der is None or request.kind not in _ANSWERS:
        return ""
    parts = urlsplit(request.url)
    builder.add(
        Kind.KMS_TLS,
        to_pem(der),
        source=f"{parts.scheme}://{parts.netloc}/",
        collected_at=moment,
        subject=f"{KEY_HOLDER}{parts.netloc}",
    )
    return hashlib.sha256(der).hexdigest()


def manifest_requests(
    plan: SubjectPlan, holder: KeyHolderPlan, cloud_url: str
) -> Iterator[Request]:
    """Where the manifest of a KMS's guest may be, the likeliest first: behind the app's gateway;
    where that does not serve it, in the vendor's account ("" for none)."""
    if not holder.app_id:
        return
    cluster = cluster_of(plan.subject)
    if cluster:
        yield requests.kms_guest_request(holder.app_id, f"https://{cluster}", holder.subject)
    if cloud_url:
        yield requests.cloud_request(cloud_url, plan.app_id.hex(), holder.subject)
