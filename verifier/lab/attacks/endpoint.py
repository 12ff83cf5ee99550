"""Attacks on where the connections of users end."""

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec.structs import replace

from verifier.evidence.codec import JsonObject
from verifier.evidence.td.ra_tls import to_pem
from verifier.lab import cert, dns, keys
from verifier.lab import forgeries as forge
from verifier.lab.attacks.attack import (
    BY_GATEWAY,
    HONEST,
    PASSED_THROUGH,
    Attack,
    missing,
    refused,
    warned,
)
from verifier.lab.dns import Record
from verifier.lab.endpoint import web_certificate
from verifier.lab.gateway import ACCOUNT_URI
from verifier.lab.ingress import FOLDER
from verifier.lab.knobs import Knobs
from verifier.lab.logged import CT_URL
from verifier.lab.response import NOT_FOUND, Response, answer_json
from verifier.lab.world import DOMAIN, GATEWAY_BASE, RESOLVERS, WEB_DOMAIN, World, build
from verifier.model.result import Verdict

_TLS: Final = "endpoint.tls"
_DOMAIN: Final = "endpoint.domain"
_LOGGED: Final = "endpoint.logged"
_SESSION: Final = "/tdx_quote"
"""Where an app of attested TLS (atlas) quotes the session that it is asked in."""

_ATTACKER: Final = "attacker's TLS key"
EditDns = Callable[[str, str, str, list[Record]], list[Record]]
"""(resolver, name, type, records): changes what a resolver says."""


def endpoint() -> Iterator[Attack]:
    """Servers that stand between users and the guest."""
    asked = {"endpoint": PASSED_THROUGH}
    title = "ends the connection itself, with the guest's quote in a certificate for its own key"
    yield refused("endpoint-lent-quote", _TLS, title, Knobs(peer=_lent), **asked)
    title = "shows a certificate whose issuer's name is bits, which no text can be made of"
    yield refused("endpoint-unreadable-name", _TLS, title, Knobs(peer=_unreadable), **asked)
    title = "answers with another app of the same KMS"
    yield refused("endpoint-of-another-app", "application.identity", title, Knobs(peer=_other_app),
                  **asked)  # fmt: skip
    title = "ends the connection itself, with a certificate of a public CA"
    why = "a certificate without a quote is a usual one; nothing ties its key to any guest"
    yield missing(
        "endpoint-web-certificate", _TLS, title, Knobs(peer=web_certificate_of), why, **asked
    )
    title = "answers with a certificate that the app's CA issued to some guest of the app"
    why = "the CA is the app's; which of its guests holds the key, nothing says"
    yield warned("endpoint-of-the-apps-ca", _TLS, title, Knobs(peer=_without_quote), why, **asked)
    why = "the CA is another app's: its guest signs what it likes with it"
    title = "answers with a certificate that its own app's CA issued under this app's id"
    yield missing(
        "endpoint-of-another-apps-ca", _TLS, title, Knobs(peer=_of_another_ca), why, **asked
    )
    title = "stands between users and an app of attested TLS, in a session with each of them"
    knobs = Knobs(peer=web_certificate_of, edit_response=_relayed)
    yield refused("session-relayed", "application.binding", title, knobs, endpoint=DOMAIN,
                  challenge=b"\5" * 32, challenge_url=f"https://{DOMAIN}{_SESSION}")  # fmt: skip
    yield from _at_gateways()
    yield from _names()


def _relayed(_method: str, url: str, body: bytes, response: Response) -> Response:
    """The app quotes the session that the attacker has with it; the user is in another one."""
    if not url.endswith(_SESSION):
        return response
    nonce = bytes.fromhex(json.loads(body)["nonce_hex"])
    named = hashlib.sha512(nonce + keys.labelled("attacker's session", 32)).digest()
    answer = answer_json(200, {"quote": build(HONEST).guest.get_quote(named)})
    return replace(answer, exporter=keys.labelled("user's session", 32))


def _names() -> Iterator[Attack]:
    """Names that lead elsewhere, or for which somebody else may get a certificate."""
    asked = {"endpoint": DOMAIN}
    title = "leads the app's own name to another app"
    yield refused("domain-of-another-app", _DOMAIN, title, Knobs(edit_dns=_other_txt), **asked)
    title = "answers one of two resolvers in the place of the domain's owner"
    yield refused("domain-told-twice", _DOMAIN, title, Knobs(edit_dns=_one_lies), **asked)
    title = "owns a name that leads to no app"
    why = "whoever asked for the app by another name met it; where this one leads, nothing says"
    yield missing("domain-without-app", _DOMAIN, title, Knobs(edit_dns=_no_txt), why, **asked)
    yield from _routes()
    yield from _logged()
    title = "names its own key by the evidences of dstack-ingress, with a quote that nobody signed"
    knobs = Knobs(edit_response=forge.body_of("/evidences/quote.json", _unsigned))
    yield refused("ingress-forged-quote", _TLS, title, knobs, endpoint=WEB_DOMAIN,
                  twin_verdict=Verdict.WARNING)  # fmt: skip
    title = "has the app quote evidences of its own, which name its key and its account at the CA"
    why = "the quote is the app's; that the app holds what it names, only the app's code says"
    knobs = Knobs(peer=web_certificate_of, edit_response=_named, edit_dns=_own_account)
    yield warned("ingress-names-another-account", f"{_TLS} {_DOMAIN}", title, knobs, why,
                 endpoint=WEB_DOMAIN, twin_endpoint=DOMAIN)  # fmt: skip
    asked = {"endpoint": BY_GATEWAY, "twin_verdict": Verdict.WARNING}
    why = "nobody is known to have got such a certificate; nothing keeps a CA from giving one"
    title = "leaves the gateway's names open to any CA"
    yield warned("domain-without-caa", _DOMAIN, title, Knobs(edit_dns=without_caa), why, **asked)
    title = "lets an account of its own get certificates for one name, by a record closer to it"
    yield warned("domain-other-account", _DOMAIN, title, Knobs(edit_dns=_closer), why, **asked)
    title = "lets another CA, which knows no such account, certify beside the gateway's"
    yield warned("domain-other-ca", _DOMAIN, title, Knobs(edit_dns=_other_ca), why, **asked)
    title = "has proven once and for good, by a record that is still there, that it may certify"
    why = "CAA keeps a CA from heeding it, as long as that record stands and the CA obeys it"
    own = Knobs(edit_dns=_standing(ACCOUNT_URI))
    knobs = Knobs(edit_dns=_standing(_ACCOUNT))
    yield warned("domain-standing-permission", _DOMAIN, title, knobs, why, twin=own, **asked)


def _logged() -> Iterator[Attack]:
    """Certificates that a public CA gave to somebody else."""
    title = "got a certificate of a public CA for the app's own name"
    why = "a search of logs is nobody's proof; the certificate may be an earlier one of the app"
    knobs = Knobs(logged=((DOMAIN, _ATTACKER),))
    yield warned("logged-for-another-key", _LOGGED, title, knobs, why, endpoint=DOMAIN)
    title = "got a certificate of a public CA for all of the gateway's names"
    knobs = Knobs(logged=((f"*.{GATEWAY_BASE}", _ATTACKER),))
    yield warned("logged-for-the-gateways-names", _LOGGED, title, knobs, why, endpoint=BY_GATEWAY,
                 twin_verdict=Verdict.WARNING)  # fmt: skip
    title = "has the search of logs answer nothing"
    why = "what was logged is then not known"
    knobs = Knobs(edit_response=_no_search)
    yield missing("logs-unsearched", _LOGGED, title, knobs, why, endpoint=DOMAIN)


def _no_search(_method: str, url: str, _body: bytes, response: Response) -> Response:
    return NOT_FOUND if url.startswith(CT_URL) else response


def _routes() -> Iterator[Attack]:
    """Who stands between users of the app's own name and its guest."""
    why = "the guest was met there, by its own key; who leads users to it may stop doing so"
    title = "has the app's own name lead through a server of its own"
    knobs = Knobs(edit_dns=_through("edge.attacker.invalid"))
    yield warned("domain-through-a-stranger", _DOMAIN, title, knobs, why, endpoint=DOMAIN)
    title = "has the app's own name lead through another gateway than the app measured"
    knobs = Knobs(edit_manifest=_served_by("_.other.lab.invalid"))
    twin = Knobs(edit_manifest=_served_by(f"_.{GATEWAY_BASE}"))
    yield warned("domain-through-another-gateway", _DOMAIN, title, knobs, why, endpoint=DOMAIN,
                 twin=twin)  # fmt: skip


def _through(target: str) -> EditDns:
    """Make a name of the app's own an alias of another one than its gateway's."""

    def edit(_resolver: str, _name: str, _kind: str, records: list[Record]) -> list[Record]:
        told = dns.name_data(target)
        return [(owner, kind, told if kind == "CNAME" else raw) for owner, kind, raw in records]

    return edit


def _served_by(gateway: str) -> Callable[[JsonObject], JsonObject]:
    """Name the gateway in the manifest, as dstack-ingress is told it."""

    def edit(manifest: JsonObject) -> JsonObject:
        ingress = f"    environment:\n      GATEWAY_DOMAIN: {gateway}\n"
        compose = str(manifest["docker_compose_file"]).rstrip("\n") + "\n" + ingress
        return {**manifest, "docker_compose_file": compose}

    return edit


def _standing(account: str) -> EditDns:
    """Name an account that may certify the gateway's names without any other proof."""

    def edit(_resolver: str, name: str, kind: str, records: list[Record]) -> list[Record]:
        told = dns.text_data(f"lab.invalid; accounturi={account}; policy=wildcard")
        own = name == f"_validation-persist.{GATEWAY_BASE}"
        return [(name, "TXT", told)] if own and kind == "TXT" else records

    return edit


def _other_txt(_resolver: str, _name: str, kind: str, records: list[Record]) -> list[Record]:
    told = dns.text_data(f"{forge.OTHER_APP.hex()}:443")
    return [(owner, kind, told) for owner, _, _ in records] if kind == "TXT" else records


def _unsigned(raw: bytes) -> bytes:
    answer = json.loads(raw)
    quote = bytearray.fromhex(answer["quote"])
    quote[forge.SIGNATURE] ^= 1
    return json.dumps({**answer, "quote": quote.hex()}).encode()


_ACCOUNT: Final = "https://acme.lab.invalid/acme/acct/666"


@cache
def _own_evidences() -> dict[str, bytes]:
    """What the attacker had the app quote, by the path under which it is shown."""
    certificate = f"cert-{WEB_DOMAIN}.pem"
    files = {
        "acme-account.json": json.dumps({"uri": _ACCOUNT}).encode(),
        certificate: web_certificate(WEB_DOMAIN, HONEST.now, _ATTACKER),
    }
    lines = (f"{hashlib.sha256(raw).hexdigest()}  {name}\n" for name, raw in files.items())
    files["sha256sum.txt"] = "".join(lines).encode()
    named = hashlib.sha256(files["sha256sum.txt"]).digest() + bytes(32)
    files["quote.json"] = json.dumps(build(HONEST).guest.get_quote(named)).encode()
    return {f"{FOLDER}{name}": raw for name, raw in files.items()}


def _named(_method: str, url: str, _body: bytes, response: Response) -> Response:
    path = url.partition(WEB_DOMAIN)[2].partition("?")[0]
    raw = _own_evidences().get(path) if FOLDER in path else None
    return response if raw is None else replace(response, body=raw)


def _own_account(_resolver: str, _name: str, kind: str, records: list[Record]) -> list[Record]:
    told = dns.caa_data("issue", f"lab.invalid; accounturi={_ACCOUNT}")
    return [(owner, kind, told) for owner, _, _ in records] if kind == "CAA" else records


def _one_lies(resolver: str, name: str, kind: str, records: list[Record]) -> list[Record]:
    lied_to = resolver == RESOLVERS[0]
    return _other_txt(resolver, name, kind, records) if lied_to else records


def _no_txt(_resolver: str, _name: str, kind: str, records: list[Record]) -> list[Record]:
    return [] if kind == "TXT" else records


def without_caa(_resolver: str, _name: str, kind: str, records: list[Record]) -> list[Record]:
    """Give no CAA record of any name."""
    return [] if kind == "CAA" else records


def _closer(_resolver: str, name: str, kind: str, records: list[Record]) -> list[Record]:
    own = dns.caa_data("issue", f"lab.invalid;accounturi={ACCOUNT_URI}2")
    return [(name, "CAA", own)] if kind == "CAA" and "-443." in name else records


def _other_ca(_resolver: str, _name: str, kind: str, records: list[Record]) -> list[Record]:
    value = f"other-ca.example;accounturi={ACCOUNT_URI}"
    more = [(owner, "CAA", dns.caa_data("issue", value)) for owner, _, _ in records[:1]]
    return [*records, *more] if kind == "CAA" else records


def _at_gateways() -> Iterator[Attack]:
    """Gateways, which read what users send, and what they show of themselves."""
    asked = {"endpoint": BY_GATEWAY, "twin_verdict": Verdict.WARNING}
    title = "leads users to the gateway, which reads what they send"
    why = "gateways do so by design; this one proves that it runs what its contract allows"
    yield warned("endpoint-at-the-gateway", _TLS, title, HONEST, why, endpoint=BY_GATEWAY,
                 twin_endpoint=PASSED_THROUGH)  # fmt: skip
    title = "ends the connection itself, with the gateway's quote beside its own key"
    knobs = Knobs(peer=web_certificate_of, edit_response=forge.body_of("/acme-info", _own_key))
    yield refused("gateway-lent-quote", _TLS, title, knobs, **asked)
    title = "runs a gateway of its own, of a manifest that the gateway's contract does not allow"
    knobs = Knobs(edit_gateway=lambda own: replace(own, app_name="attacker's gateway"))
    yield refused("gateway-own-manifest", _TLS, title, knobs, **asked)
    title = "runs the gateway on a development image"
    knobs = Knobs(edit_gateway=lambda own: replace(own, os_image="development"))
    yield refused("gateway-development-image", _TLS, title, knobs, **asked)
    title = "has the gateway show no key"
    why = "a gateway of an older release shows none either; in which TD the key is, nothing says"
    knobs = Knobs(edit_response=_hidden)
    yield missing("gateway-hides-its-keys", _TLS, title, knobs, why, **asked)


def _hidden(_method: str, url: str, _body: bytes, response: Response) -> Response:
    return NOT_FOUND if url.endswith("/acme-info") else response


def _own_key(raw: bytes) -> bytes:
    """The gateway's last key in the list is the attacker's, beside the quote over the true one."""
    answer = json.loads(raw)
    answer["quoted_hist_keys"][-1]["public_key"] = keys.spki(keys.p256(_ATTACKER)).hex()
    return json.dumps(answer).encode()


def _lent(world: World, _: str) -> bytes:
    guest = world.guest
    options = replace(guest.cert_options, subject="attacker", ca="")
    return cert.app_cert(options, guest.cert_attestation).encode()


def _other_app(world: World, _: str) -> bytes:
    other = build(replace(world.knobs, peer=None, guest_app_id=forge.OTHER_APP))
    return other.guest.app_cert.encode()


def web_certificate_of(_: World, host: str) -> bytes:
    """Show a certificate of a public CA for a key of the attacker."""
    return web_certificate(host, HONEST.now, _ATTACKER)


def _unreadable(world: World, host: str) -> bytes:
    leaf, *_ = x509.load_pem_x509_certificates(web_certificate_of(world, host))
    # The tag of a text becomes that of a bit string, and its first letter a number of unused bits.
    return to_pem(leaf.public_bytes(Encoding.DER).replace(b"\x0c\x0dLab", b"\x03\x0d\0ab"))


def _without_quote(world: World, _: str) -> bytes:
    guest = world.guest
    options = replace(guest.cert_options, subject="other guest", form="none")
    return cert.app_cert(options, guest.cert_attestation).encode()


def _of_another_ca(world: World, _: str) -> bytes:
    other = build(replace(world.knobs, peer=None, guest_app_id=forge.OTHER_APP)).guest
    named = {"form": "none", "leaf_app": bytes.fromhex(world.app_id)}
    options = replace(other.cert_options, subject="attacker", **named)
    return cert.app_cert(options, other.cert_attestation).encode()
