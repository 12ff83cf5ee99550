"""What forgeries are made of: edits of one stage of a simulated world, as its knobs take them."""

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from eth_utils.address import to_checksum_address
from msgspec.structs import replace

from verifier.evidence import codec
from verifier.evidence.bundle import Kind
from verifier.evidence.codec import JsonObject
from verifier.lab import cert, contracts, history, keys
from verifier.lab.collateral import Collateral, CollateralOptions
from verifier.lab.events import Event, runtime_event
from verifier.lab.guest import KeySource, manifest_text
from verifier.lab.kms import Kms
from verifier.lab.knobs import DAY, DEFAULT_NOW, Knobs
from verifier.lab.pki import FMSPC, PkiOptions, build_pki
from verifier.lab.quote import SEPT_VE_DISABLE, TdReport, make_quote
from verifier.lab.response import Response
from verifier.model.result import JsonValue
from verifier.reference.generations import G3

if TYPE_CHECKING:
    from verifier.lab.chain import Chain
    from verifier.lab.contracts import DstackApp, DstackKms
    from verifier.lab.world import World

EventsEdit = Callable[[list[Event]], list[Event]]
LogEdit = Callable[[list[JsonObject]], list[JsonObject]]
ResponseEdit = Callable[[str, str, bytes, Response], Response]
ChainEdit = Callable[["Chain", "DstackApp", "DstackKms"], None]
HandedOver = tuple[tuple[Kind, bytes], ...]

READY: Final = "system-ready"
OTHER_HASH: Final = keys.labelled("hash of something else", 32)
OTHER_APP: Final = keys.labelled("another app", 20)
FORGED_MANIFEST: Final = manifest_text(Knobs()).replace("read_only: true", "read_only: false")
FORGED_HASH: Final = hashlib.sha256(FORGED_MANIFEST.encode()).digest()
SIGNATURE: Final = 636
"""Offset of the quote's signature in version 4: header 48, body 584, length 4."""

REPORT_DATA: Final = 568
"""Offset of the report data in version 4: header 48, then 520 into the body."""

QE_REPORT: Final = SIGNATURE + 64 + 64 + 6
"""Offset of the QE report in version 4; 384 bytes, then its signature."""

_ACPI: Final = 10
"""Event type of the digests of QEMU's ACPI tables in RTMR0."""

_UNKNOWN: Final = keys.labelled("unknown implementation", 20)
_ALLOWED: Final = contracts.encode(1, "")
_ONE_OPERATOR: Final = "https://rpc-a.lab.invalid/"


def open_image(manifest: JsonObject) -> JsonObject:
    """Let a variable that the operator sets name the image."""
    compose = "services:\n  web:\n    image: ${IMAGE}\n"
    return {**manifest, "allowed_envs": ["IMAGE"], "docker_compose_file": compose}


def before_ready(name: str, payload: bytes) -> EventsEdit:
    """Measure one more event before `system-ready`."""

    def edit(events: list[Event]) -> list[Event]:
        place = next(index for index, event in enumerate(events) if event.name == READY)
        return [*events[:place], runtime_event(name, payload), *events[place:]]

    return edit


def after_ready(name: str, payload: bytes) -> EventsEdit:
    """Measure one more event after everything else, as any app may."""
    return lambda events: [*events, runtime_event(name, payload)]


def measured_without(name: str) -> EventsEdit:
    """Never measure an event."""
    return lambda events: [event for event in events if event.name != name]


def measured_as(name: str, payload: bytes) -> EventsEdit:
    """Measure another payload."""
    return lambda events: [
        runtime_event(name, payload, event.version) if event.name == name else event
        for event in events
    ]


def names_the_true_kms(events: list[Event]) -> list[Event]:
    """Measure the CA key of the KMS whose contract the app names."""
    source = KeySource("kms", keys.spki(cert.kms_ca_key("onchain")).hex())
    return measured_as("key-provider", source.payload)(events)


def measured_swapped(first: str, second: str) -> EventsEdit:
    """Measure two events in each other's place."""

    def edit(events: list[Event]) -> list[Event]:
        named = {event.name: event for event in events}
        other = {first: named[second], second: named[first]}
        return [other.get(event.name, event) for event in events]

    return edit


def foreign_type(events: list[Event]) -> list[Event]:
    """Measure into RTMR3 an event that is none of dstack's types."""
    forged = Event(3, 0x80000001, hashlib.sha384(b"firmware").digest(), "app-id", OTHER_APP)
    return [*events, forged]


def log_entry(name: str, edit: Callable[[JsonObject], JsonObject]) -> LogEdit:
    """Change how one event is shown; what was measured stays."""
    return lambda log: [{**item, **edit(item)} if item["event"] == name else item for item in log]


def respelled(name: str, field: str, how: Callable[[Any], JsonValue]) -> LogEdit:
    """Write one field of an event in a way that a lenient reader takes for the same."""
    return log_entry(name, lambda entry: {field: how(entry[field])})


def arabic_digits(text: str) -> str:
    """Decimal digits that Python's `int` reads, and no hex reader should."""
    return text.translate({ord("0") + digit: 0x660 + digit for digit in range(10)})


def shown_as(name: str, payload: bytes, *, recomputed: bool) -> LogEdit:
    """Show another payload, with its old digest or with the one that goes with it."""
    digest = {"digest": runtime_event(name, payload).digest.hex()} if recomputed else {}
    return log_entry(name, lambda _: {"event_payload": payload.hex(), **digest})


def split_elsewhere(name: str) -> LogEdit:
    """Move the colon between name and payload to the payload's first: same preimage, other name."""

    def edit(entry: JsonObject) -> JsonObject:
        head, _, rest = bytes.fromhex(str(entry["event_payload"])).partition(b":")
        return {"event": f"{name}:{head.decode()}", "event_payload": rest.hex()}

    return log_entry(name, edit)


def shown_without(name: str) -> LogEdit:
    """Leave an event out of the log."""
    return lambda log: [item for item in log if item["event"] != name]


def shown_swapped(log: list[JsonObject]) -> list[JsonObject]:
    """Show the last two events in each other's place."""
    return [*log[:-2], log[-1], log[-2]]


def with_another_boot(log: list[JsonObject]) -> list[JsonObject]:
    """Append the runtime events of another boot."""
    return [*log, *(item for item in log if item["imr"] == 3)]  # noqa: PLR2004 - RTMR3


def boot_digest(log: list[JsonObject]) -> list[JsonObject]:
    """Show another digest for the first boot event."""
    return [{**log[0], "digest": OTHER_HASH.hex() + "00" * 16}, *log[1:]]


def boot_entry_dropped(log: list[JsonObject]) -> list[JsonObject]:
    """Leave the first boot event out of the log."""
    return log[1:]


def stripped_to_acpi(log: list[JsonObject]) -> list[JsonObject]:
    """Leave of the boot log what dstack 0.6.0 leaves: the three ACPI events, by name."""
    names = iter(("acpi-loader", "acpi-rsdp", "acpi-tables"))
    acpi = [{**item, "event": next(names)} for item in log if item["event_type"] == _ACPI]
    return [*acpi, *(item for item in log if item["imr"] == 3)]  # noqa: PLR2004 - RTMR3


def stripped_to(*imrs: int) -> LogEdit:
    """Leave of the boot log the ACPI events and all of some registers."""
    return lambda log: [item for item in log if item["event_type"] == _ACPI or item["imr"] in imrs]


def digest_hidden(log: list[JsonObject]) -> list[JsonObject]:
    """Show one boot event without its digest."""
    return [{**log[0], "digest": ""}, *log[1:]]


def kms_asked_again(log_after: str = "boot-mr-done") -> EventsEdit:
    """Measure another KMS, which refused, before the one that gave the keys; or after an event."""

    def edit(events: list[Event]) -> list[Event]:
        place = next(index for index, event in enumerate(events) if event.name == log_after) + 1
        refused = [runtime_event(name, OTHER_HASH) for name in ("mr-kms", "os-image-hash")]
        return [*events[:place], *refused, *events[place:]]

    return edit


def flipped(offset: int) -> Callable[[bytes], bytes]:
    """Flip one bit of a quote."""
    return lambda raw: raw[:offset] + bytes([raw[offset] ^ 1]) + raw[offset + 1 :]


def high_s(raw: bytes) -> bytes:
    """The other signature that ECDSA accepts for the same quote: (r, order - s)."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    middle, end = SIGNATURE + 32, SIGNATURE + 64
    s = order - int.from_bytes(raw[middle:end], "big")
    return raw[:middle] + s.to_bytes(32, "big") + raw[end:]


def td(**changes: object) -> Callable[[TdReport], TdReport]:
    """Change fields of the TD report before it is signed."""
    return lambda report: replace(report, **changes)


def body_of(path: str, edit: Callable[[bytes], bytes]) -> ResponseEdit:
    """Change the body of every answer whose URL contains `path`."""

    def respond(_method: str, url: str, _body: bytes, response: Response) -> Response:
        return replace(response, body=edit(response.body)) if path in url else response

    return respond


def info_field(name: str, value: str) -> ResponseEdit:
    """Change one field of the Info answer."""
    return body_of("/prpc/Info", lambda raw: json.dumps({**json.loads(raw), name: value}).encode())


def page_text(old: str, new: str) -> ResponseEdit:
    """Change the text of the page."""
    return body_of("gw.lab.invalid/", lambda raw: _in_page(raw, old, new))


def _in_page(raw: bytes, old: str, new: str) -> bytes:
    return raw.replace(old.encode(), new.encode()) if raw.startswith(b"<!DOCTYPE") else raw


def pcs_text(path: str, old: bytes, new: bytes) -> ResponseEdit:
    """Change the text of a collateral document after it was signed."""
    return body_of(f"/certification/v4/{path}", lambda raw: raw.replace(old, new))


def no_certificate(method: str, url: str, body: bytes, response: Response) -> Response:
    """Hide the app certificate, as guests of 0.6.0 do."""
    return info_field("app_cert", "")(method, url, body, response)


def old_revocation_list(_method: str, url: str, _body: bytes, response: Response) -> Response:
    """Answer with a PCK CRL of 40 days ago, still in force, that revokes nothing."""
    if "/pckcrl" not in url:
        return response
    issued, expires = DEFAULT_NOW - 40 * DAY, DEFAULT_NOW + 20 * DAY
    options = PkiOptions(now=DEFAULT_NOW, platform="", crl_issued=issued, crl_expires=expires)
    return replace(response, body=build_pki(options).pck_crl)


def stale_env_key(method: str, url: str, body: bytes, response: Response) -> Response:
    """Replay the answer that the true KMS gave a day ago."""
    del method
    if "GetAppEnvEncryptPubKey" not in url:
        return response
    app_id = bytes.fromhex(json.loads(body)["app_id"])
    answer = _kms("onchain", json.loads(response.body)["timestamp"] - DAY).env_key(app_id)
    return replace(response, body=json.dumps(answer).encode())


def redated_env_key(method: str, url: str, body: bytes, response: Response) -> Response:
    """Replay the answer that the true KMS gave a day ago, and say that it is of now."""
    stale = stale_env_key(method, url, body, response)
    if stale is response:
        return response
    now = json.loads(response.body)["timestamp"]
    answer = {**json.loads(stale.body), "timestamp": now}
    return replace(response, body=json.dumps(answer).encode())


def env_key_of_another_app(method: str, url: str, body: bytes, response: Response) -> Response:
    """Answer with what the true KMS signed for another app."""
    del method, body
    if "GetAppEnvEncryptPubKey" not in url:
        return response
    answer = _kms("onchain", json.loads(response.body)["timestamp"]).env_key(OTHER_APP)
    return replace(response, body=json.dumps(answer).encode())


def _kms(label: str, now: int) -> Kms:
    pki = PkiOptions(now=now, platform="", crl_issued=0, crl_expires=0)
    return Kms(label, now=now, version="0.5.8", pki=pki, contract=None)


def key_chain(world: "World", **changes: str) -> HandedOver:
    """The true app-key chain of the world's app, with some fields replaced."""
    document = world.kms.app_key(bytes.fromhex(world.app_id)).to_json()
    return ((Kind.SIGNATURE_CHAIN, json.dumps({**document, **changes}).encode()),)


def key_chain_v1(world: "World", **changes: str) -> HandedOver:
    """The true chain of a key of `/v1/GetKey` of the world's app, with some fields replaced."""
    document = world.kms.app_key_v1(bytes.fromhex(world.app_id))
    return ((Kind.SIGNATURE_CHAIN, json.dumps({**document, **changes}).encode()),)


def chain_of_another_domain(world: "World") -> HandedOver:
    """A true chain of a key of `/v1/GetKey`, which names another domain than was signed."""
    return key_chain_v1(world, domain="treasury")


def foreign_link(world: "World") -> HandedOver:
    """A key chain whose first link is another KMS's: its key is not the one the KMS signed."""
    other = _kms("attacker", world.now).app_key(bytes.fromhex(world.app_id))
    return key_chain(
        world, derived_public_key=other.public_key.hex(), app_signature=other.app_signature.hex()
    )


def chain_of_another_kms(world: "World") -> HandedOver:
    """A whole key chain for the app id, made by a KMS of the attacker's own."""
    other = _kms("attacker", world.now).app_key(bytes.fromhex(world.app_id))
    return ((Kind.SIGNATURE_CHAIN, json.dumps(other.to_json()).encode()),)


def chain_of_another_app(world: "World") -> HandedOver:
    """The true key chain of another app of the same KMS."""
    other = world.kms.app_key(OTHER_APP)
    return ((Kind.SIGNATURE_CHAIN, json.dumps(other.to_json()).encode()),)


def kinder_collateral(world: "World") -> HandedOver:
    """Genuine collateral of the evaluation before, under which the platform is UpToDate."""
    options = CollateralOptions(
        issued=world.now - DAY,
        expires=world.now + 29 * DAY,
        evaluation=world.knobs.tcb_evaluation - 1,
        fmspc=FMSPC,
    )
    document = Collateral(world.pki, options).document()
    return ((Kind.COLLATERAL, json.dumps(document).encode()),)


def older_lists(world: "World") -> HandedOver:
    """Genuine collateral whose revocation lists are of a day before, and revoke nothing."""
    older = replace(
        world.pki_options, revoked=frozenset(), crl_issued=world.pki_options.crl_issued - DAY
    )
    lists = build_pki(older)
    document = {
        **world.collateral.document(),
        "pck_crl": lists.pck_crl.hex(),
        "root_ca_crl": lists.root_ca_crl.hex(),
    }
    return ((Kind.COLLATERAL, json.dumps(document).encode()),)


def newer_list(world: "World") -> HandedOver:
    """A PCK revocation list of today."""
    lists = build_pki(replace(world.pki_options, crl_issued=world.now))
    return ((Kind.PCS_PCK_CRL, lists.pck_crl),)


def revoking_list(world: "World") -> HandedOver:
    """A PCK revocation list of today, which revokes the platform's PCK certificate."""
    options = replace(world.pki_options, crl_issued=world.now, revoked=frozenset({"pck"}))
    return ((Kind.PCS_PCK_CRL, build_pki(options).pck_crl),)


def updated_module(world: "World") -> HandedOver:
    """A quote of the same boot after a TD-preserving update of the TDX module."""
    report = replace(
        world.guest.td_report,
        mr_seam=keys.labelled("a newer TDX module", 48),
        tee_tcb_svn2=bytes([6, 1, 4, *bytes(13)]),
    )
    return _quote_beside(world, report)


def debugged_boot(world: "World") -> HandedOver:
    """A quote of a TD with equal registers and debug on."""
    return _quote_beside(world, replace(world.guest.td_report, td_attributes=SEPT_VE_DISABLE | 1))


def _quote_beside(world: "World", report: TdReport) -> HandedOver:
    knobs = world.knobs
    return ((Kind.QUOTE, make_quote(report, world.pki, knobs.platform, knobs.quote_format)),)


def foreign_quote(world: "World") -> HandedOver:
    """A genuine quote of the same machine, of a TD that runs something else."""
    report = replace(world.guest.td_report, mr_td=keys.labelled("another TD", 48))
    return ((Kind.QUOTE, make_quote(report, world.pki, world.knobs.platform)),)


def days_ago(chain: "Chain", days: int) -> int:
    """The block that was the head so many days ago."""
    return chain.block_at(chain.timestamp(chain.head) - days * DAY)


def foreign_contract(chain: "Chain", app: "DstackApp", _kms_contract: "DstackKms") -> None:
    """At the app id stands a contract that says yes to everything."""
    code = contracts.runtime_code("yes to everything")
    chain.define(code, contracts.foreign(getters=True, decision=True))
    chain.set_code(days_ago(chain, 50), app.address, code)


def unknown_app_code(chain: "Chain", app: "DstackApp", _kms_contract: "DstackKms") -> None:
    """Upgrade the app to code that says yes to everything."""
    app.upgrade(days_ago(chain, 20), _unknown_code(chain))


def unknown_kms_code(chain: "Chain", _app: "DstackApp", kms: "DstackKms") -> None:
    """Upgrade the KMS contract to unknown code that still answers as the known one does."""
    known = chain.code(history.KMS_IMPLEMENTATION, chain.head)
    unknown = _unknown_code(chain)
    chain.define(
        chain.code(unknown, chain.head),
        lambda chain, address, calldata, block: chain.run(known, address, calldata, block),
    )
    kms.upgrade(days_ago(chain, 20), unknown)


def swapped_and_back(chain: "Chain", app: "DstackApp", _kms_contract: "DstackKms") -> None:
    """Upgrade the app to unknown code for a week, and back."""
    app.upgrade(days_ago(chain, 20), _unknown_code(chain))
    app.upgrade(days_ago(chain, 13), history.APP_IMPLEMENTATION)


def upgraded_to_known(chain: "Chain", app: "DstackApp", _kms_contract: "DstackKms") -> None:
    """Upgrade the app to known code."""
    app.upgrade(days_ago(chain, 20), history.APP_IMPLEMENTATION)


def _unknown_code(chain: "Chain") -> bytes:
    code = contracts.runtime_code("unknown implementation", _UNKNOWN)
    chain.define(code, contracts.foreign(getters=True, decision=True))
    chain.set_code(days_ago(chain, 50), _UNKNOWN, code)
    return _UNKNOWN


def lying_getter(chain: "Chain", app: "DstackApp", _kms_contract: "DstackKms") -> None:
    """The getter says that the manifest is allowed, and the decision is no."""
    chain.overrides[app.address, contracts.selector("allowedComposeHashes(bytes32)")] = (
        contracts.encode(1)
    )


def lying_decision(chain: "Chain", _app: "DstackApp", kms: "DstackKms") -> None:
    """The decision is yes, and the getters say no."""
    chain.overrides[kms.address, contracts.IS_APP_ALLOWED] = _ALLOWED


def lying_kms_info(chain: "Chain", _app: "DstackApp", kms: "DstackKms") -> None:
    """The contract publishes another CA key."""
    kms.set_kms_info(days_ago(chain, 20), (b"\2" * 33, OTHER_HASH, b"", b""))


def one_says_allowed(_method: str, url: str, body: bytes, response: Response) -> Response:
    """One operator answers every `isAppAllowed` with yes."""
    if url != _ONE_OPERATOR or contracts.IS_APP_ALLOWED.hex().encode() not in body:
        return response
    answer = {**json.loads(response.body), "result": "0x" + _ALLOWED.hex()}
    return replace(response, body=json.dumps(answer).encode())


def older_generation(document: JsonObject) -> JsonObject:
    """The KMS's code is of a generation with other storage and calls than its record says."""
    rows = codec.as_list(document["contracts"], "contracts")
    changed: list[JsonValue] = [
        {**row, "generation": G3.name} if row.get("role") == "kms" else row
        for row in (codec.as_object(item, "contract") for item in rows)
    ]
    return {**document, "contracts": changed}


def root_address(world: "World") -> str:
    """The address of the world's KMS root key (EIP-55)."""
    return to_checksum_address(world.kms.root_address)


def denying(kind: str, value: Callable[["World"], str]) -> Callable[["World"], JsonObject]:
    """The relying party knows a value as one that anybody can produce."""
    return lambda world: {
        "kind": kind,
        "value": value(world),
        "why": "anybody can produce it",
        "source": "catalogue of attacks",
        "date": "2026-06-15",
    }
