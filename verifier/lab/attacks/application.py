"""Attacks on whose app it is, what its manifest says, and what else is told of it."""

import json
from collections.abc import Callable, Iterator

from verifier.evidence.codec import JsonObject
from verifier.lab import forged_kms, keys, omissions
from verifier.lab import forgeries as forge
from verifier.lab.attacks.attack import HONEST, Attack, missing, refused, warned
from verifier.lab.knobs import Knobs
from verifier.model.result import Verdict


def application() -> Iterator[Attack]:
    """Another app, another manifest, another key under the app's name."""
    check = "application.identity"
    title = "serves another app of the same KMS under the address that was asked for"
    yield refused("another-app", check, title, Knobs(guest_app_id=forge.OTHER_APP))
    victim = keys.labelled("victim", 20)
    title = "boots a genuine OS under the victim's app id, without any KMS"
    twin = {"twin": Knobs(key_provider="none"), "twin_verdict": Verdict.WARNING}
    knobs = Knobs(app_id=victim, key_provider="none")
    yield refused("victim-id-no-kms", f"{check} key_management.provider", title, knobs, **twin)
    title = "boots a genuine OS under the victim's app id, with a KMS of its own"
    knobs = Knobs(app_id=victim, kms="attacker")
    why = "a KMS that nobody knows may be anybody's own: nothing known binds the id to it"
    yield missing("victim-id-own-kms", f"{check} key_management.provider", title, knobs, why)
    yield from _named()
    title = "shows the evidence of a public simulator, by its app id"
    denied = forge.denying("app-id", lambda world: world.app_id)
    yield refused("simulator-app-id", check, title, HONEST, denied=denied)
    title = "shows the recorded quote of a public simulator"
    denied = forge.denying("rtmr3", lambda world: world.guest.td_report.rtmrs[3].hex())
    yield refused("simulator-quote", check, title, HONEST, denied=denied)
    title = "adds an instance of the same app that runs a development image"
    knobs = Knobs(others=(Knobs(os_image="development"),))
    yield refused("worse-instance", "boot.image", title, knobs, twin=Knobs(others=(Knobs(),)))
    check = "application.manifest"
    served: tuple[tuple[str, str, Callable[[str], str]], ...] = (
        ("manifest-byte", "changes a byte of", lambda text: text.replace("web", "wab")),
        ("manifest-newline", "appends a new line to", lambda text: text + "\n"),
        ("manifest-bom", "puts a byte order mark before", lambda text: "\ufeff" + text),
        ("manifest-reserialised", "re-serialises", lambda text: text.replace('":', '": ')),
    )
    for name, verb, serve in served:
        knobs = Knobs(edit_served_manifest=serve)
        yield refused(name, check, f"{verb} the manifest that is shown", knobs)
    twice = '{"docker_compose_file":"services: {}","docker_compose_file":"services: {web: {}}"}'
    title = "measures a manifest with a key twice, which two readers read differently"
    yield refused("manifest-duplicate-key", check, title, Knobs(manifest=twice))
    title = "has the host commit to another manifest in MRCONFIGID"
    knobs = Knobs(edit_td=forge.td(mr_config_id=b"\1" + forge.OTHER_HASH + bytes(15)))
    yield refused("config-id", check, title, knobs, twin=Knobs(mr_config_id="v2"))
    why = "a hidden manifest is not a false one; without it, nobody knows what runs"
    yield missing("manifest-hidden", check, "hides its manifest", Knobs(public_tcbinfo=False), why)
    yield from _left_open()
    why = "a container that is not declared would be a finding; without the page, nobody knows"
    title = "hides the page that lists its containers, so that rules about them have no evidence"
    knobs = Knobs(edit_response=omissions.page_hidden)
    yield missing("rules-left-open", "manifest.rules", title, knobs, why)
    check = "application.binding"
    title = "puts the quote of one TD into the certificate of another key"
    yield refused("quote-of-another-td", check, title, Knobs(cert_report_data=b"\7" * 64))
    title = "answers a challenge with a quote from before it"
    yield refused("challenge-ignored", check, title, HONEST, challenge=b"\5" * 32)
    why = "report data may follow a convention that nobody knows; it is not wrong, it says nothing"
    title = "shows a quote over report data that commits to nothing known"
    knobs = Knobs(edit_response=forge.no_certificate, app_key_report_data=b"\7" * 64)
    yield missing("report-data-unknown", check, title, knobs, why)


def _left_open() -> Iterator[Attack]:
    """What a manifest leaves to its operator."""
    title = "runs whatever image a variable names that the operator sets"
    yield refused("open-image", "manifest.rules", title, Knobs(edit_manifest=forge.open_image))
    title = "gives its container's settings other names where the operator sets them"
    for name, key in (("input-renamed", "OPENAI_BASE_URL"), ("loader-renamed", "NODE_OPTIONS")):
        knobs = Knobs(edit_manifest=_renamed_input(key))
        yield refused(name, "manifest.rules", title, knobs)


def _renamed_input(key: str) -> Callable[[JsonObject], JsonObject]:
    """Gives a container a variable whose value the operator sets under a name that says nothing."""

    def edit(manifest: JsonObject) -> JsonObject:
        compose = str(manifest["docker_compose_file"])
        entry = f"    environment:\n      {key}: ${{SETTING}}\n    image: "
        opened = compose.replace("    image: ", entry, 1)
        return {**manifest, "docker_compose_file": opened, "allowed_envs": ["SETTING"]}

    return edit


def _named() -> Iterator[Attack]:
    """A key holder that the guest names, and that signed nothing for the judged quote."""
    check = "application.identity"
    title = "boots a genuine OS under the victim's app id, with a key provider that nobody knows"
    measured = forge.measured_as("key-provider", b'{"name":"vault","id":""}')
    knobs = Knobs(app_id=keys.labelled("victim", 20), key_provider="none", edit_events=measured)
    why = "a provider of another kind may be a good one: nothing known binds the id to it"
    twin = {"twin": Knobs(key_provider="none"), "twin_verdict": Verdict.WARNING}
    checks = f"{check} key_management.provider"
    yield missing("victim-id-unknown-provider", checks, title, knobs, why, **twin)
    why = "the guest may be what it says; nothing that its KMS signed is about this quote"
    title = "measures the CA certificate of the true KMS, and gets its keys from one of its host's"
    knobs = Knobs(
        kms="attacker",
        kms_answers="onchain",
        app_on_chain=True,
        edit_events=forge.names_the_true_kms,
        edit_response=forge.no_certificate,
    )
    yield warned("kms-by-its-name", check, title, knobs, why)
    title = "answers a challenge with a TD of equal registers beside the certificate of another one"
    knobs, challenge = Knobs(app_key_report_data=b"\5" * 64), b"\5" * 64
    yield warned("certificate-lent", check, title, knobs, why, challenge=challenge)


def _proofs() -> Iterator[Attack]:
    """Attestation proofs whose parts do not belong together."""
    honest = forged_kms.proof("source")
    for name, title, part, changes, checks in (
        ("proof-of-another-td", "publishes a proof with the registers of another TD",
         "attestation", {"mr_td": "07" * 48}, "application.consistency"),
        ("proof-of-another-app", "publishes a proof with what the KMS signed for another app",
         "deployment", {"custom_app_id": forge.OTHER_APP.hex()}, "application.consistency"),
        ("proof-of-another-commit", "publishes a proof that names another commit than was built",
         "source", {"commit": "07" * 20}, "application.consistency"),
        ("proof-of-another-branch", "publishes a proof that names another branch than was built",
         "source", {"branch": "release"}, "application.consistency"),
        ("proof-of-another-kms", "publishes a proof that names another known KMS than was measured",
         "deployment", {"kms_id": forged_kms.HOSTED_ROOT}, "application.consistency"),
        ("proof-of-another-instance", "publishes a proof that names another guest's instance id",
         "deployment", {"cvm_id": forge.OTHER_APP.hex()}, "application.consistency"),
        ("proof-of-another-time", "publishes a proof that says it is older than its own platform",
         "", {"timestamp": "2020-01-01T00:00:00Z"}, "application.consistency"),
    ):  # fmt: skip
        given = {"handed_over": forged_kms.proof(part, **changes), "twin_handed_over": honest}
        yield refused(name, checks, title, HONEST, **given)
    title = "discredits an honest app by the genuine proof of another app"
    why = "a proof of another app says nothing of this one: it is named and set aside"
    given = {"handed_over": forged_kms.proof_of_another_app, "twin_handed_over": honest}
    yield warned("proof-beside", "application.consistency", title, HONEST, why, **given)


def consistency() -> Iterator[Attack]:
    """Evidence that tells other things than were measured."""
    check = "application.consistency"
    stated = forge.info_field("compose_hash", forge.OTHER_HASH.hex())
    title = "states another compose hash in its Info answer than was measured"
    yield refused("info-states-otherwise", check, title, Knobs(edit_response=stated))
    why = "what is not stated contradicts nothing; every such answer states it"
    for name in ("compose_hash", "vm_config"):
        title = f"leaves {name} out of its Info answer"
        knobs = Knobs(edit_response=omissions.info_without(name))
        yield missing(f"info-without-{name.replace('_', '-')}", check, title, knobs, why)
    title = "hands over, with its own evidence, the quote of another TD"
    yield refused("quotes-mixed", check, title, HONEST, handed_over=forge.foreign_quote)
    yield from _proofs()
    title = "hands over a quote of a TD with the same registers and debug on"
    yield refused(
        "quote-beside-with-debug",
        check,
        title,
        Knobs(quote_format="v5-td15"),
        twin=Knobs(quote_format="v5-td15"),
        handed_over=forge.debugged_boot,
        twin_handed_over=forge.updated_module,
    )
    config = forge.info_field("vm_config", json.dumps({"os_image_hash": forge.OTHER_HASH.hex()}))
    yield warned(
        "config-names-another-image",
        check,
        "names another OS image in its vm_config than the os-image-hash event",
        Knobs(edit_response=config),
        "the host writes the one and a KMS says the other; the registers tell the image",
    )
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
        yield refused(name, check, title, Knobs(edit_response=forge.page_text(old, new)))
