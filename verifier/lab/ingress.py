"""The simulated dstack-ingress: a certificate of a public CA, and the evidences about it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from verifier.lab.endpoint import web_certificate
from verifier.lab.guest import Guest

ACCOUNT_URI: Final = "https://acme.lab.invalid/acme/acct/2"
FOLDER: Final = "/evidences/"


def ingress_certificate(host: str, guest: Guest) -> bytes:
    """The certificate (PEM) that the guest obtained for a host."""
    return web_certificate(host, guest.knobs.now, f"ingress {host} {guest.app_id.hex()}")


def evidences(host: str, guest: Guest) -> Mapping[str, bytes]:
    """The files that it publishes, by path."""
    files = {
        "acme-account.json": json.dumps({"body": {}, "uri": ACCOUNT_URI}).encode(),
        f"cert-{host}.pem": ingress_certificate(host, guest),
    }
    listing = "".join(f"{hashlib.sha256(raw).hexdigest()}  {name}\n" for name, raw in files.items())
    report_data = hashlib.sha256(listing.encode()).digest() + bytes(32)
    files["sha256sum.txt"] = listing.encode()
    files["quote.json"] = json.dumps(guest.get_quote(report_data)).encode()
    return {f"{FOLDER}{name}": raw for name, raw in files.items()}
