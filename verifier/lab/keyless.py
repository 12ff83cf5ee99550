"""A Sigstore instance that answers: an OIDC issuer, Fulcio and Rekor, on one address.

Fulcio certifies the key of a request for the workflow that a token names; Rekor keeps what was
signed in a log that grows, and gives each entry with its inclusion proof. Both verify what they are
given, as the real ones do, and both can lie. Forms: sigstore/fulcio fulcio.proto
(CreateSigningCertificate), sigstore/rekor openapi.yaml (createLogEntry), GitHub's OIDC claims.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from verifier.evidence.codec import JsonObject
from verifier.lab import keys
from verifier.lab.response import NOT_FOUND, Response, answer_json
from verifier.lab.sigstore import Sigstore, Workflow, dsse_body, pre_authentication
from verifier.model.result import JsonValue

AUDIENCE: Final = "sigstore"
TOKEN_SECONDS: Final = 300
_EARLIER: Final = tuple(f"earlier entry {number}".encode() for number in range(5))
_SCALAR: Final = 32


class Lie(Enum):
    """What one of the services does that it must not."""

    NONE = "nothing"
    OTHER_KEY = "Fulcio certifies a key of its own"
    OTHER_AUTHORITY = "Fulcio's certificate is of another authority"
    EXPIRED = "Fulcio's certificate has expired"
    OTHER_ENTRY = "Rekor gives the entry of something else"
    OTHER_LOG = "Rekor's entry is of another log"
    NO_PROOF = "Rekor gives no inclusion proof"
    BROKEN_PROOF = "Rekor's proof does not lead to its tree"


class Services:
    """The services of an instance; `clock` gives Unix seconds, `lie` what is false about them.

    `told` holds what each of them was asked, by path, in this order.
    """

    def __init__(
        self, clock: Callable[[], int], label: str = "sigstore", lie: Lie = Lie.NONE
    ) -> None:
        self.label = label
        self.lie = lie
        self.told: list[str] = []
        self._clock = clock
        self._leaves = _EARLIER

    def instance(self) -> Sigstore:
        """The instance as it is now."""
        return Sigstore(certified_at=self._clock(), logged_at=self._clock(), label=self.label)

    def trust_config(self, base_url: str) -> bytes:
        """What a client trusts, and whom it asks, where the services stand (JSON)."""
        service: JsonObject = {
            "url": base_url.rstrip("/"),
            "majorApiVersion": 1,
            "operator": "lab.invalid",
            "validFor": {"start": "2021-01-01T00:00:00Z"},
        }
        document: JsonObject = {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": json.loads(self.instance().trusted_root),
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [service],
                "oidcUrls": [service],
                "rekorTlogUrls": [service],
                "tsaUrls": [],
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaConfig": {"selector": "ANY"},
            },
        }
        return json.dumps(document).encode("ascii")

    def token(self, workflow: Workflow, *, lasts: int = TOKEN_SECONDS) -> str:
        """An OIDC token of a workflow's run, as GitHub's issuer words it (JWT, ES256)."""
        now = self._clock()
        claims: JsonObject = {
            "iss": workflow.issuer,
            "aud": AUDIENCE,
            "sub": f"repo:{urlsplit(workflow.repository).path.strip('/')}:ref:{workflow.ref}",
            "iat": now,
            "exp": now + lasts,
            "job_workflow_ref": workflow.identity.removeprefix("https://github.com/"),
            "repository": urlsplit(workflow.repository).path.strip("/"),
            "sha": workflow.commit,
            "ref": workflow.ref,
            "runner_environment": workflow.runner,
        }
        signed = f"{_base64url({'alg': 'ES256', 'typ': 'JWT'})}.{_base64url(claims)}"
        signature = keys.sign_p256(self._issuer_key(), signed.encode())
        return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    def respond(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Response:
        """The answer to one request."""
        path = urlsplit(url).path
        self.told.append(path)
        given = {name.lower(): value for name, value in headers.items()}
        try:
            if (method, path) == ("POST", "/api/v2/signingCert"):
                token = given.get("authorization", "").removeprefix("Bearer ")
                return answer_json(200, self._certified(token, json.loads(body)))
            if (method, path) == ("POST", "/api/v1/log/entries"):
                return answer_json(201, self._logged(json.loads(body)))
            if (method, path) == ("GET", "/token"):
                return answer_json(200, {"value": self.token(Workflow())})
        except (InvalidSignature, LookupError, TypeError, ValueError) as error:
            return answer_json(400, {"code": 3, "message": f"refused: {error!r:.100}"})
        return NOT_FOUND

    def _issuer_key(self) -> ec.EllipticCurvePrivateKey:
        return keys.p256(f"{self.label} oidc")

    def _certified(self, token: str, request: JsonObject) -> JsonValue:
        """Fulcio: the certificate, and the authority's, for the key that signed the request."""
        workflow = self._workflow(token)
        asked = x509.load_pem_x509_csr(base64.b64decode(str(request["certificateSigningRequest"])))
        key = asked.public_key()
        if not asked.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("the request is not signed by its key")
        instance = self.instance()
        if self.lie is Lie.OTHER_KEY:
            key = keys.p256("another signer").public_key()
        if self.lie is Lie.OTHER_AUTHORITY:
            instance = Services(self._clock, "another instance").instance()
        if self.lie is Lie.EXPIRED:
            before = self._clock() - 86_400
            instance = instance.at(certified=before, logged=before)
        chain = (instance.certify(key, workflow), instance.authority())
        pems = [item.public_bytes(serialization.Encoding.PEM).decode("ascii") for item in chain]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": [*pems]}}}

    def _workflow(self, token: str) -> Workflow:
        """Whom a token names, once the issuer's signature holds and it has not expired."""
        head, claims, signature = token.split(".")
        raw = base64.urlsafe_b64decode(signature + "==")
        r, s = (int.from_bytes(raw[at : at + _SCALAR], "big") for at in (0, _SCALAR))
        self._issuer_key().public_key().verify(
            encode_dss_signature(r, s), f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256())
        )
        said = json.loads(base64.urlsafe_b64decode(claims + "=="))
        if said["aud"] != AUDIENCE or not said["iat"] <= self._clock() < said["exp"]:
            raise ValueError("the token is for somebody else, or of another time")
        return Workflow(
            repository=f"https://github.com/{said['repository']}",
            commit=said["sha"],
            runner=said["runner_environment"],
            issuer=said["iss"],
            ref=said["ref"],
        )

    def _logged(self, proposed: JsonObject) -> JsonValue:
        """Rekor: the entry that an envelope has from now on."""
        body = self._body(proposed)
        if self.lie is Lie.OTHER_ENTRY:
            body = dsse_body(b"something else", "AA==", "AA==")
        label = "another instance" if self.lie is Lie.OTHER_LOG else self.label
        instance = Services(self._clock, label).instance()
        entry = instance.entry(body, self._leaves)
        self._leaves = (*self._leaves, body)
        return {hashlib.sha256(b"\0" + body).hexdigest(): self._worded(entry)}

    def _body(self, proposed: JsonObject) -> bytes:
        """What the log keeps of an envelope, once its signature holds."""
        match proposed:
            case {
                "kind": "dsse",
                "apiVersion": "0.0.1",
                "spec": {
                    "proposedContent": {"envelope": str(envelope), "verifiers": [str(verifier)]}
                },
            }:
                pass
            case _:
                raise ValueError("not a dsse entry")
        document = json.loads(envelope)
        payload = base64.b64decode(document["payload"])
        (signature,) = document["signatures"]
        key = x509.load_pem_x509_certificate(base64.b64decode(verifier)).public_key()
        if self.lie is not Lie.OTHER_KEY and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(
                base64.b64decode(signature["sig"]),
                pre_authentication(document["payloadType"], payload),
                ec.ECDSA(hashes.SHA256()),
            )
        return dsse_body(payload, signature["sig"], verifier, envelope.encode())

    def _worded(self, entry: JsonObject) -> JsonObject:
        """An entry as Rekor's API words it, which is not as a bundle holds it."""
        match entry:
            case {
                "logIndex": str(index),
                "logId": {"keyId": str(log)},
                "integratedTime": str(time),
                "inclusionPromise": {"signedEntryTimestamp": str(promise)},
                "inclusionProof": {
                    "rootHash": str(root),
                    "treeSize": str(size),
                    "hashes": list(path),
                    "checkpoint": {"envelope": str(checkpoint)},
                },
                "canonicalizedBody": str(body),
            }:
                pass
            case _:
                raise ValueError("not an entry")
        if self.lie is Lie.BROKEN_PROOF:
            path = path[1:]
        proof: JsonObject = {
            "checkpoint": checkpoint,
            "hashes": [base64.b64decode(str(item)).hex() for item in path],
            "logIndex": int(index),
            "rootHash": base64.b64decode(root).hex(),
            "treeSize": int(size),
        }
        verification: JsonObject = {"signedEntryTimestamp": promise, "inclusionProof": proof}
        if self.lie is Lie.NO_PROOF:
            del verification["inclusionProof"]
        return {
            "body": body,
            "integratedTime": int(time),
            "logID": base64.b64decode(log).hex(),
            "logIndex": int(index),
            "verification": verification,
        }


def _base64url(document: JsonObject) -> str:
    raw = json.dumps(document, separators=(",", ":"), sort_keys=True).encode("ascii")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
