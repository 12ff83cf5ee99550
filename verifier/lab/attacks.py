"""The catalogue of attacks: forged worlds and forged evidence, and the check that refuses each.

An attack is refused when every check that it names says so: `fail` or `error`. Two other outcomes
are as good for whoever asks, since neither is accepted:

    missing   the evidence is not wrong, it proves nothing: the named check is a skip, never usable
    warned    the evidence is genuine, and worth less than it looks: the named check warns

The twin of an attack is the nearest honest world; in it the same checks do not say so. `verify
demo` shows one honest world; the tests audit every row of this catalogue and its twin.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from verifier.evidence.codec import JsonObject
from verifier.lab import forgeries as forge
from verifier.lab import keys
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.quote import DEBUG, SEPT_VE_DISABLE
from verifier.lab.rpc import RpcFault
from verifier.lab.world import World
from verifier.model.result import Verdict

Outcome = Literal["refused", "missing", "warned"]
_HONEST: Final = Knobs()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One forgery. `title` says what the attacker does; `refused_by` names checks.

    `knobs` make the forged world and `twin` the honest one, whose verdict is `twin_verdict`.
    `handed_over` is evidence that the attacker adds to what was collected; `denied` is a row that
    the relying party's deny list holds, `reference` its edit of the world's reference values;
    `challenge` is the report data that it asked for. `why` says why an outcome is not `refused`.
    """

    name: str
    title: str
    refused_by: tuple[str, ...]
    knobs: Knobs
    outcome: Outcome = "refused"
    why: str = ""
    twin: Knobs = _HONEST
    twin_verdict: Verdict = Verdict.AFFIRMING
    handed_over: Callable[[World], forge.HandedOver] | None = None
    twin_handed_over: Callable[[World], forge.HandedOver] | None = None
    denied: Callable[[World], JsonObject] | None = None
    reference: Callable[[JsonObject], JsonObject] | None = None
    challenge: bytes = b""


def _refused(name: str, check_id: str, title: str, knobs: Knobs, **rest: object) -> Attack:
    named = tuple(check_id.split())
    return Attack(name=name, title=title, refused_by=named, knobs=knobs, **rest)  # type: ignore[arg-type]


def _missing(
    name: str, check_id: str, title: str, knobs: Knobs, why: str, **rest: object
) -> Attack:
    attack = _refused(name, check_id, title, knobs, **rest)
    return replace(attack, outcome="missing", why=why)


def _warned(name: str, check_id: str, title: str, knobs: Knobs, why: str, **rest: object) -> Attack:
    attack = _refused(name, check_id, title, knobs, **rest)
    return replace(attack, outcome="warned", why=why)


def _hardware_quote() -> Iterator[Attack]:
    check = "hardware.quote"
    edits = {
        "quote-signature": ("flips a bit of the quote's signature", forge.SIGNATURE + 8),
        "quote-report-data": ("writes report data into a signed quote", forge.REPORT_DATA),
        "quote-attestation-key": ("puts another attestation key", forge.SIGNATURE + 64 + 8),
        "quote-qe-report": ("changes the quoting enclave's report", forge.QE_REPORT + 70),
        "quote-qe-signature": ("flips a bit of the PCK's signature", forge.QE_REPORT + 390),
    }
    for name, (title, offset) in edits.items():
        yield _refused(name, check, title, Knobs(edit_quote=forge.flipped(offset)))
    tails = {
        "quote-trailing-letters": ("appends letters to a quote", lambda raw: raw + b"A" * 100),
        "quote-padding-over-cap": ("pads a quote without end", lambda raw: raw + bytes(5000)),
        "quote-truncated": ("hands over half a quote", lambda raw: raw[:2000]),
        "quote-of-sgx": ("passes an SGX quote as a TD quote", lambda raw: b"\3" + raw[1:]),
    }
    for name, (title, edit) in tails.items():
        yield _refused(name, check, title, Knobs(edit_quote=edit))
    yield _refused("foreign-root", check, "makes a root of its own", Knobs(root="attacker"))
    for role in ("platform-ca", "pck", "tcb-signing", "pck-crl", "root-ca-crl"):
        title = f"signs {role} with a key that its issuer does not have"
        yield _refused(f"rogue-{role}", check, title, Knobs(rogue=frozenset({role})))
    for role in ("platform-ca", "pck", "tcb-signing"):
        title = f"uses a revoked certificate: {role}"
        yield _refused(f"revoked-{role}", check, title, Knobs(revoked=frozenset({role})))
        title = f"uses an expired certificate: {role}"
        yield _refused(f"expired-{role}", check, title, Knobs(expired=frozenset({role})))
    title = "shows collateral that is no longer in force"
    yield _refused("collateral-expired", check, title, Knobs(collateral_age=31 * DAY))
    title = "shows collateral that is not yet in force"
    yield _refused("collateral-not-yet", check, title, Knobs(collateral_age=-DAY))
    title = "has TCB info and QE identity signed by a PCK leaf under the true root"
    yield _refused("tcb-signer-pck", check, title, Knobs(tcb_signer="pck"))
    kinder = forge.pcs_text("tcb", b"OutOfDate", b"UpToDate")
    yield _refused("tcb-info-edited", check, "edits signed TCB info", Knobs(edit_response=kinder))
    other = forge.pcs_text("qe/identity", b'"isvprodid":2', b'"isvprodid":1')
    title = "edits the signed identity of the quoting enclave"
    yield _refused("qe-identity-edited", check, title, Knobs(edit_response=other))
    yield _missing(
        "collateral-of-another-platform",
        check,
        "answers with the collateral of another platform family",
        Knobs(collateral_fmspc=bytes.fromhex("00a06d080000")),
        "collateral for another platform is no collateral for this one",
    )


def _hardware_rest() -> Iterator[Attack]:
    td15 = Knobs(quote_format="v5-td15")
    for name, title, changes, twin in (
        ("debug-td", "starts the TD with debug on",
         {"td_attributes": SEPT_VE_DISABLE | DEBUG}, _HONEST),
        ("sept-ve-off", "starts the TD without SEPT_VE_DISABLE", {"td_attributes": 0}, _HONEST),
        ("unknown-attribute", "sets a bit nobody knows", {"td_attributes": 3 << 28}, _HONEST),
        ("seam-signer", "loads a TDX module that Intel did not sign",
         {"mr_signer_seam": b"\1" * 48}, _HONEST),
        ("seam-attributes", "loads a TDX module for debugging",
         {"seam_attributes": b"\1" + bytes(7)}, _HONEST),
        ("service-td", "binds a service TD, which can migrate the app",
         {"mr_service_td": b"\1" * 48}, td15),
    ):  # fmt: skip
        knobs = replace(twin, edit_td=forge.td(**changes))
        yield _refused(name, "hardware.td", title, knobs, twin=twin)
    check = "hardware.tcb"
    for name, title, knobs in (
        ("tcb-out-of-date", "runs on firmware with known holes", Knobs(tcb_status="OutOfDate")),
        ("tcb-hardening", "leaves software hardening out", Knobs(tcb_status="SWHardeningNeeded")),
        ("tcb-revoked", "runs on a TCB level that Intel revoked", Knobs(tcb_status="Revoked")),
        ("tdx-module-out-of-date", "runs an old TDX module", Knobs(module_status="OutOfDate")),
        ("qe-out-of-date", "quotes with an old enclave", Knobs(qe_status="OutOfDate")),
        ("kinder-evaluation", "shows an older evaluation", Knobs(tcb_evaluation=19)),
    ):
        yield _refused(name, check, title, knobs)
    yield _refused(
        "kinder-evaluation-beside",
        check,
        "adds collateral of an older evaluation, which is kinder, to the current one",
        Knobs(tcb_status="OutOfDate"),
        handed_over=forge.kinder_collateral,
        twin_handed_over=forge.kinder_collateral,
    )
    yield _warned(
        "old-quote",
        "hardware.freshness",
        "replays the evidence of a TD that ran once, where no contract dates it",
        Knobs(key_provider="local-sgx"),
        "a quote carries no time, and nothing here bounds its age",
    )
    yield _warned(
        "old-collateral",
        "hardware.freshness",
        "shows collateral from before the bad news, still in force",
        Knobs(collateral_age=40 * DAY, collateral_window=60 * DAY),
        "collateral is in force for as long as Intel says; its age is a matter of policy",
    )

    yield _warned(
        "old-revocation-list",
        "hardware.freshness",
        "uses a revoked PCK, with a revocation list from before, among fresh collateral",
        Knobs(revoked=frozenset({"pck"}), edit_response=forge.old_revocation_list),
        "the list is in force; the age of collateral is that of its oldest part",
    )


def _boot() -> Iterator[Attack]:
    check = "boot.registers"
    title = "shows a boot log with another digest"
    yield _refused("boot-log-digest", check, title, Knobs(edit_log=forge.boot_digest))
    title = "shows a boot log that lacks an entry"
    yield _refused("boot-log-dropped", check, title, Knobs(edit_log=forge.boot_entry_dropped))
    check = "boot.image"
    title = "boots the development image of a real release, which has a root shell"
    yield _refused("development-image", check, title, Knobs(os_image="development"))
    denied = forge.denying("mrtd", lambda world: world.guest.image.mrtd.hex())
    title = "boots the image of a public simulator"
    yield _refused("simulator-image", check, title, _HONEST, denied=denied)
    edit = forge.measured_as("os-image-hash", forge.OTHER_HASH)
    title = "lets the log name another image than the registers show"
    yield _refused("image-hash-event", check, title, Knobs(edit_events=edit))
    yield _missing(
        "self-built-image",
        check,
        "boots an image of its own, which writes into RTMR3 what it likes",
        Knobs(os_image="mine"),
        "an unknown image may be a good one; until somebody rebuilds it, nothing follows from it",
    )
    yield _warned(
        "strange-machine",
        check,
        "boots a known image on virtual hardware that nobody reproduced",
        Knobs(edit_events=forge.other_machine),
        "RTMR0 is the host's hardware description; an unknown one is a doubt, not a forgery",
    )


def _runtime() -> Iterator[Attack]:
    check = "runtime.replay"
    for name, digest, recomputed in (
        ("payload-changed", "the old digest", False),
        ("payload-and-digest-changed", "the digest that goes with it", True),
    ):
        shown = forge.shown_as("compose-hash", forge.FORGED_HASH, recomputed=recomputed)
        title = f"shows a manifest of its own, and its compose-hash with {digest}"
        knobs = Knobs(edit_log=shown, edit_served_manifest=lambda _: forge.FORGED_MANIFEST)
        yield _refused(name, check, title, knobs)
    edits: tuple[tuple[str, str, forge.LogEdit], ...] = (
        ("event-dropped", "leaves an event out of the log", forge.shown_without("storage-fs")),
        ("events-reordered", "shows two events in each other's place", forge.shown_swapped),
        ("two-boots-merged", "appends the events of another boot", forge.with_another_boot),
        ("log-cut", "cuts the log before system-ready", forge.shown_without(forge.READY)),
    )
    for name, title, edit in edits:
        yield _refused(name, check, title, Knobs(edit_log=edit))
    for name, title, field, respell in (
        ("imr-true", "writes an imr as true", "imr", lambda _: True),
        ("imr-text", "writes an imr as text", "imr", str),
        ("imr-float", "writes an imr as 3.0", "imr", float),
        ("digest-short", "shows a digest of 47 bytes", "digest", lambda text: text[2:]),
        ("hex-upper", "writes hex in upper case", "event_payload", str.upper),
        ("hex-spaced", "writes hex with spaces", "digest", lambda text: text[:2] + " " + text[2:]),
        ("hex-unicode", "writes hex in other digits", "digest", forge.arabic_digits),
    ):
        respelled = forge.respelled("compose-hash", field, respell)
        yield _refused(name, check, title, Knobs(edit_log=respelled))
    check = "runtime.events"
    title = "moves the colon between name and payload, so that key-provider vanishes"
    edit = forge.split_elsewhere("key-provider")
    yield _refused("event-split-elsewhere", check, title, Knobs(edit_log=edit))
    for name, payload in (
        ("compose-hash", forge.OTHER_HASH),
        ("app-id", forge.OTHER_APP),
        ("key-provider", b'{"name":"none","id":""}'),
    ):
        twin = Knobs(edit_events=forge.after_ready(name, payload))
        knobs = Knobs(edit_events=forge.before_ready(name, payload))
        title = f"measures a second {name} before system-ready"
        yield _refused(f"second-{name}", check, title, knobs, twin=twin)
    measured: tuple[tuple[str, str, forge.EventsEdit], ...] = (
        ("no-key-provider", "never measures a key provider",
         forge.measured_without("key-provider")),
        ("no-system-ready", "never ends its boot", forge.measured_without(forge.READY)),
        ("identity-out-of-order", "measures its identity in another order",
         forge.measured_swapped("app-id", "compose-hash")),
        ("foreign-event-type", "measures an event of another type into RTMR3", forge.foreign_type),
        ("app-id-short", "measures an app id of 19 bytes", forge.measured_as("app-id", bytes(19))),
        ("provider-twice", "names two key providers in one event",
         forge.measured_as("key-provider", b'{"name":"kms","name":"none","id":""}')),
    )  # fmt: skip
    for name, title, measure in measured:
        yield _refused(name, check, title, Knobs(edit_events=measure))


def _application() -> Iterator[Attack]:
    check = "application.identity"
    title = "serves another app of the same KMS under the address that was asked for"
    yield _refused("another-app", check, title, Knobs(guest_app_id=forge.OTHER_APP))
    victim = keys.labelled("victim", 20)
    title = "boots a genuine OS under the victim's app id, without any KMS"
    twin = {"twin": Knobs(key_provider="none"), "twin_verdict": Verdict.WARNING}
    knobs = Knobs(app_id=victim, key_provider="none")
    yield _refused("victim-id-no-kms", f"{check} key_management.provider", title, knobs, **twin)
    title = "boots a genuine OS under the victim's app id, with a KMS of its own"
    knobs = Knobs(app_id=victim, kms="attacker")
    yield _refused("victim-id-own-kms", f"{check} key_management.provider", title, knobs)
    title = "shows the evidence of a public simulator, by its app id"
    denied = forge.denying("app-id", lambda world: world.app_id)
    yield _refused("simulator-app-id", check, title, _HONEST, denied=denied)
    title = "shows the recorded quote of a public simulator"
    denied = forge.denying("rtmr3", lambda world: world.guest.td_report.rtmrs[3].hex())
    yield _refused("simulator-quote", check, title, _HONEST, denied=denied)
    title = "adds an instance of the same app that runs a development image"
    knobs = Knobs(others=(Knobs(os_image="development"),))
    yield _refused("worse-instance", "boot.image", title, knobs, twin=Knobs(others=(Knobs(),)))
    check = "application.manifest"
    served: tuple[tuple[str, str, Callable[[str], str]], ...] = (
        ("manifest-byte", "changes a byte of", lambda text: text.replace("web", "wab")),
        ("manifest-newline", "appends a new line to", lambda text: text + "\n"),
        ("manifest-bom", "puts a byte order mark before", lambda text: "\ufeff" + text),
        ("manifest-reserialised", "re-serialises", lambda text: text.replace('":', '": ')),
    )
    for name, verb, serve in served:
        knobs = Knobs(edit_served_manifest=serve)
        yield _refused(name, check, f"{verb} the manifest that is shown", knobs)
    twice = '{"docker_compose_file":"services: {}","docker_compose_file":"services: {web: {}}"}'
    title = "measures a manifest with a key twice, which two readers read differently"
    yield _refused("manifest-duplicate-key", check, title, Knobs(manifest=twice))
    title = "has the host commit to another manifest in MRCONFIGID"
    knobs = Knobs(edit_td=forge.td(mr_config_id=b"\1" + forge.OTHER_HASH + bytes(15)))
    yield _refused("config-id", check, title, knobs, twin=Knobs(mr_config_id="v2"))
    why = "a hidden manifest is not a false one; without it, nobody knows what runs"
    yield _missing("manifest-hidden", check, "hides its manifest", Knobs(public_tcbinfo=False), why)
    title = "runs whatever image a variable names that the operator sets"
    yield _refused("open-image", "manifest.rules", title, Knobs(edit_manifest=forge.open_image))
    check = "application.binding"
    title = "puts the quote of one TD into the certificate of another key"
    yield _refused("quote-of-another-td", check, title, Knobs(cert_report_data=b"\7" * 64))
    title = "answers a challenge with a quote from before it"
    yield _refused("challenge-ignored", check, title, _HONEST, challenge=b"\5" * 32)
    why = "report data may follow a convention that nobody knows; it is not wrong, it says nothing"
    title = "shows a quote over report data that commits to nothing known"
    knobs = Knobs(edit_response=forge.no_certificate, app_key_report_data=b"\7" * 64)
    yield _missing("report-data-unknown", check, title, knobs, why)


def _consistency() -> Iterator[Attack]:
    check = "application.consistency"
    stated = forge.info_field("compose_hash", forge.OTHER_HASH.hex())
    title = "states another compose hash in its Info answer than was measured"
    yield _refused("info-states-otherwise", check, title, Knobs(edit_response=stated))
    title = "hands over, with its own evidence, the quote of another TD"
    yield _refused("quotes-mixed", check, title, _HONEST, handed_over=forge.foreign_quote)
    pages = (
        ("page-two-textareas", "shows a second TCB Info for lenient readers", "<h2>TCB Info</h2>",
         "<h2>TCB Info</h2><textarea readonly>{}</textarea>"),
        ("page-raw-markup", "puts markup into the textarea", "readonly>", "readonly><b>"),
        ("page-utf-16", "declares another character set", 'charset="UTF-8"', 'charset="utf-16"'),
        ("page-foreign-entity", "writes an entity that readers decode differently",
         "&#34;mrtd", "&#128;&#34;mrtd"),
        ("page-textarea-elsewhere", "moves the textarea under another heading",
         "<h2>TCB Info</h2>", "<h2>Logs</h2>"),
        ("page-row-twice", "shows two app ids", "Instance ID", "App ID"),
    )  # fmt: skip
    for name, title, old, new in pages:
        yield _refused(name, check, title, Knobs(edit_response=forge.page_text(old, new)))


def _key_management() -> Iterator[Attack]:
    check = "key_management.provider"
    title = "names the CA key of one KMS on a contract that publishes the root key of another"
    yield _refused("root-of-another-kms", check, title, Knobs(kms_k256="hosted"))
    title = "publishes another CA key on chain than the guest measured"
    yield _refused("ca-key-on-chain", check, title, Knobs(edit_chain=forge.lying_kms_info))
    why = "an empty key on chain equals nothing and contradicts nothing"
    title = "publishes no CA key, so that nothing is compared with nothing"
    yield _missing("ca-key-empty", check, title, Knobs(ca_pubkey=b""), why)
    title = "gets its keys from a simulator's KMS, whose keys are public"
    denied = forge.denying("ca-spki", lambda world: world.kms.ca_spki.hex())
    yield _refused("simulator-kms", check, title, _HONEST, denied=denied)
    title = "shows what the true KMS signed for the victim, while its keys are its own"
    knobs = Knobs(kms="attacker", kms_answers="onchain")
    yield _refused("env-key-of-true-kms", check, title, knobs)
    title = "has one operator answer every call with yes"
    knobs = Knobs(rpc_faults={"a": RpcFault.LYING_CALL})
    yield _refused("rpc-lying-call", check, title, knobs)
    why = "what is on another chain says nothing about this one"
    title = "has every operator serve another chain"
    yield _missing("rpc-other-chain-everywhere", check, title, Knobs(chain_id=1), why)
    check = "key_management.root"
    denied = forge.denying("k256-address", forge.root_address)
    title = "shows signatures of a simulator's root key, which is public"
    yield _refused("simulator-root-key", check, title, _HONEST, denied=denied)
    title = "answers in the KMS's place with a key of its own"
    yield _refused("env-key-forged", check, title, Knobs(kms_answers="attacker"))
    knobs = Knobs(edit_response=forge.env_key_of_another_app)
    title = "shows the key that the KMS signed for another app"
    yield _refused("env-key-of-another-app", check, title, knobs)
    for name, title, chain in (
        ("app-key-link", "derives a key from an unsigned app key", forge.foreign_link),
        ("app-key-kms", "signs the app key with its own KMS", forge.chain_of_another_kms),
        ("app-key-of-another-app", "shows another app's key chain", forge.chain_of_another_app),
    ):
        both = {"handed_over": chain, "twin_handed_over": forge.key_chain}
        yield _refused(name, check, title, _HONEST, **both)
    why = "a replayed signature is genuine; it says that the KMS answered once"
    title = "replays a signature of the KMS"
    yield _warned("env-key-replayed", check, title, Knobs(edit_response=forge.stale_env_key), why)
    check = "key_management.certificate"
    for name, title, knobs in (
        ("certificate-own-ca", "issues the app certificate itself", Knobs(cert_ca="attacker")),
        ("certificate-forged", "puts the KMS's CA above its own", Knobs(cert_forged=True)),
        ("certificate-of-another-app", "shows a certificate that the KMS issued to another app",
         Knobs(cert_app_id=forge.OTHER_APP)),
        ("certificate-leaf-ca", "gets a leaf with the rights of a CA", Knobs(cert_leaf_is_ca=True)),
        ("certificate-usage", "shows a certificate for another use", Knobs(cert_usage="kms:rpc")),
        ("certificate-expired", "shows a certificate whose time is over",
         Knobs(cert_issued=_HONEST.now - 3700 * DAY)),
    ):  # fmt: skip
        yield _refused(name, check, title, knobs)


def _authorization() -> Iterator[Attack]:
    check = "authorization.contract"
    upgraded = Knobs(edit_chain=forge.upgraded_to_known)
    for name, title, edit, twin in (
        ("foreign-contract", "has a contract of its own at the app id",
         forge.foreign_contract, _HONEST),
        ("unknown-app-code", "upgrades the app to code that allows everything",
         forge.unknown_app_code, upgraded),
        ("unknown-kms-code", "upgrades the KMS contract to unknown code",
         forge.unknown_kms_code, _HONEST),
        ("swapped-and-back", "swaps the app's code for a week, and back",
         forge.swapped_and_back, upgraded),
    ):  # fmt: skip
        yield _refused(name, check, title, Knobs(edit_chain=edit), twin=twin)
    title = "names an app id at which there is no contract"
    yield _refused("no-contract", check, title, Knobs(app_on_chain=False))
    title = "passes a KMS of one contract generation as one of another"
    knobs = _HONEST
    yield _refused("other-generation", check, title, knobs, reference=forge.older_generation)
    for fault, title in (
        (RpcFault.OTHER_CHAIN, "serve another chain"),
        (RpcFault.OTHER_HASH, "give another block at the same height"),
        (RpcFault.NO_LOGS, "answer that there are no logs"),
        (RpcFault.DROPPED_LOG, "drop a log"),
        (RpcFault.INVENTED_LOG, "invent a log"),
        (RpcFault.DUPLICATED_LOG, "give a log twice"),
        (RpcFault.REORDERED_LOGS, "give the logs in another order"),
    ):
        knobs = Knobs(rpc_faults={"a": fault})
        yield _refused(f"rpc-{fault}", check, f"has one operator {title}", knobs)
    both = dict.fromkeys("ab", RpcFault.NO_LOGS)
    title = "has every operator answer that there are no logs"
    yield _refused("rpc-no-logs-anywhere", check, title, Knobs(rpc_faults=both))
    for fault in (RpcFault.ERROR, RpcFault.NULL):
        title = f"has one operator answer every question with {fault}"
        why = "what one operator says is worth less than what two agree on"
        yield _warned(f"rpc-{fault}", check, title, Knobs(rpc_faults={"a": fault}), why)
        title = f"has every operator answer with {fault}"
        why = "an error is an error, and no answer"
        knobs = Knobs(rpc_faults=dict.fromkeys("ab", fault))
        yield _missing(f"rpc-{fault}-everywhere", "key_management.provider", title, knobs, why)
    why = "history that no endpoint gives is unknown, which is a doubt"
    yield _warned("rpc-log-range", check, "refuses a wide range of logs", Knobs(log_range=9), why)
    yield from _allowed()


def _allowed() -> Iterator[Attack]:
    check = "authorization.allowed"
    for name, title, knobs in (
        ("hash-removed", "replays the evidence of a manifest that was removed since",
         Knobs(compose_hash_on_chain="removed")),
        ("hash-never-added", "runs a manifest that nobody allowed",
         Knobs(compose_hash_on_chain="never")),
        ("device-removed", "runs on a removed device", Knobs(device_on_chain="removed")),
        ("device-never-added", "runs on a foreign device", Knobs(device_on_chain="never")),
        ("image-removed", "runs an OS image that the KMS no longer allows",
         Knobs(os_image_on_chain="removed")),
        ("image-never-added", "runs an OS image that the KMS never allowed",
         Knobs(os_image_on_chain="never")),
        ("app-not-registered", "is unknown to the KMS contract", Knobs(app_registered=False)),
        ("getter-lies", "lets a getter allow what the decision refuses",
         Knobs(compose_hash_on_chain="never", edit_chain=forge.lying_getter)),
        ("decision-lies", "lets the decision allow what the getters refuse",
         Knobs(compose_hash_on_chain="never", edit_chain=forge.lying_decision)),
        ("rpc-one-says-allowed", "has one operator answer that the boot is allowed",
         Knobs(compose_hash_on_chain="never", edit_response=forge.one_says_allowed)),
    ):  # fmt: skip
        yield _refused(name, check, title, knobs)
    for operators, name in (("a", "one-operator"), ("ab", "everywhere")):
        knobs = Knobs(rpc_faults=dict.fromkeys(operators, RpcFault.STALE_FINALIZED))
        title = f"passes an old block as the finalized one ({name.replace('-', ' ')})"
        why = "an old block is a true one; it says nothing about now"
        yield _missing(f"rpc-stale-{name}", check, title, knobs, why)


ATTACKS: Final = (
    *_hardware_quote(),
    *_hardware_rest(),
    *_boot(),
    *_runtime(),
    *_application(),
    *_consistency(),
    *_key_management(),
    *_authorization(),
)


def render_attacks() -> str:
    """The catalogue as a Markdown page."""
    rows = [f"| `{attack.name}` | {attack.title} | {_words(attack)} |" for attack in ATTACKS]
    head = (
        "# Attacks\n\n"
        "What an attacker may try, and the check that notices. Every row is a simulated world "
        "that the tests build and audit, each beside an honest twin that passes. *Refused* means "
        "that the named check fails or errs; nothing here is ever affirmed. Generated from "
        "`verifier/lab/attacks.py`.\n\n"
        "| Attack | The attacker … | Refused by |\n|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def _words(attack: Attack) -> str:
    checks = ", ".join(f"`{check_id}`" for check_id in attack.refused_by)
    if attack.outcome == "refused":
        return checks
    return f"{checks} ({attack.outcome}: {attack.why})"
