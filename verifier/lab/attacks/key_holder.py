"""Attacks on the KMS itself: who answers for it, in what guest it runs, and with what code."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from verifier.lab import forged_kms, keys
from verifier.lab import forgeries as forge
from verifier.lab.attacks.attack import Attack, missing, refused, warned
from verifier.lab.cert import RpcOptions
from verifier.lab.history import KMS_ADDRESS
from verifier.lab.host import firmware_event_added
from verifier.lab.knobs import Knobs
from verifier.lab.quote import DEBUG, SEPT_VE_DISABLE
from verifier.lab.registry import KMS_IMAGES, WEB
from verifier.lab.response import NOT_FOUND, Response

_CHECK: Final = "key_management.attestation"
_CONTRACT: Final = "KMS_CONTRACT_ADDR=0x"
_CONFIGS: Final = "configs:\n  kms:\n    content"


def certificate() -> Iterator[Attack]:
    """What is shown at the KMS's address."""
    why = "what another CA signed is another server's, and says nothing of this KMS"
    title = "answers in the KMS's place, with a certificate of its own CA"
    knobs = Knobs(kms_certificate=RpcOptions(signer="attacker"))
    yield missing("kms-certificate-own-ca", _CHECK, title, knobs, why)
    why = "nothing shows in what guest the KMS runs, nor that it runs in one"
    title = "answers for the KMS without the certificate that it shows"
    knobs = Knobs(edit_response=forged_kms.without_certificate)
    yield missing("kms-certificate-hidden", _CHECK, title, knobs, why)
    for name, title, options in (
        ("kms-quote-lent", "puts the quote of the KMS into a certificate of another key",
         RpcOptions(report_data=b"\7" * 64)),
        ("kms-certificate-usage", "answers for the KMS with a certificate that the KMS gave an app",
         RpcOptions(usage="app:custom", app_id=forge.OTHER_APP)),
    ):  # fmt: skip
        yield refused(name, _CHECK, title, Knobs(kms_certificate=options))


def guest() -> Iterator[Attack]:
    """The guest that the KMS runs in."""
    for name, title, edit in (
        ("kms-debug", "runs the KMS in a TD with debug on",
         forged_kms.guest(edit_td=forge.td(td_attributes=SEPT_VE_DISABLE | DEBUG))),
        ("kms-development-image", "runs the KMS on a development image",
         forged_kms.guest(os_image="development")),
        ("kms-log-forged", "shows another manifest hash in the log of the KMS than was measured",
         forged_kms.guest(edit_log=forge.shown_as(
             "compose-hash", forge.OTHER_HASH, recomputed=False))),
        ("kms-firmware", "configures the firmware of the KMS's guest",
         forged_kms.guest(edit_events=firmware_event_added)),
    ):  # fmt: skip
        yield refused(name, _CHECK, title, Knobs(edit_kms=edit))
    why = "whoever built the image decides what its log says; nobody knows who did"
    title = "runs the KMS on an image of its own"
    knobs = Knobs(edit_kms=forged_kms.guest(os_image="attacker's"))
    yield missing("kms-unknown-image", _CHECK, title, knobs, why)
    why = "the KMS is genuine; an enclave that nobody knows may have kept the keys of its disk"
    title = "seals the disk of the KMS with an SGX enclave of its own"
    knobs = Knobs(edit_kms=forged_kms.guest(enclave=b"\xab" * 32))
    yield warned("kms-enclave-unknown", _CHECK, title, knobs, why)


def _is_kms_image(url: str) -> bool:
    return url.endswith(f"/manifests/{KMS_IMAGES['kms'].digest}")


def _other_image(_method: str, url: str, _body: bytes, response: Response) -> Response:
    return replace(response, body=WEB.manifest) if _is_kms_image(url) else response


def _no_image(_method: str, url: str, _body: bytes, response: Response) -> Response:
    return NOT_FOUND if _is_kms_image(url) else response


def code() -> Iterator[Attack]:
    """The code that the KMS runs, and who allows it."""
    edit = forged_kms.manifest("http://node:8545", "http://auth-api:8545")
    title = "runs a KMS that its contract does not allow"
    knobs = Knobs(edit_kms=edit, kms_build_on_chain=False)
    yield refused("kms-now-unallowed", _CHECK, title, knobs, twin=Knobs(edit_kms=edit))
    title = "has the KMS obey another contract than the one that everybody looks at"
    other = keys.labelled("another contract", 20).hex()
    edit = forged_kms.manifest(_CONTRACT + KMS_ADDRESS.hex(), _CONTRACT + other)
    yield refused("kms-other-contract", _CHECK, title, Knobs(edit_kms=edit))
    title = "has the KMS give keys to whoever asks"
    edit = forged_kms.manifest('type = "webhook"', 'type = "dev"')
    yield refused("kms-authorizes-all", _CHECK, title, Knobs(edit_kms=edit))
    title = "writes the same in another spelling of TOML"
    edit = forged_kms.manifest('type = "webhook"', "'type' = 'dev'")
    yield refused("kms-authorizes-all-respelled", _CHECK, title, Knobs(edit_kms=edit))
    why = "the KMS is genuine; whoever answers there decides, unseen, who gets the keys"
    title = "has the KMS read its contract from a node of its own, whose address has no dot"
    edit = forged_kms.manifest("http://node:8545", "http://3405803783:8545")
    yield warned("kms-node-by-number", _CHECK, title, Knobs(edit_kms=edit), why)
    title = "does not say in the KMS's manifest from which node it reads its contract"
    edit = forged_kms.manifest("ETH_RPC_URL=http://node:8545", "NODE=none")
    yield warned("kms-node-unnamed", _CHECK, title, Knobs(edit_kms=edit), why)
    title = "has the KMS ask a server of its own whom to serve"
    edit = forged_kms.manifest("http://auth-api:8000", "https://auth.example")
    yield warned("kms-asks-operator", _CHECK, title, Knobs(edit_kms=edit), why)
    why = "the KMS is genuine; its image is whatever the registry says at the next boot"
    title = "runs the KMS from an image that a tag names"
    edit = forged_kms.manifest(f"@{KMS_IMAGES['kms'].digest}", ":latest")
    yield warned("kms-image-by-tag", _CHECK, title, Knobs(edit_kms=edit), why)
    title = "has the registry show another image in the place of the one that the KMS runs"
    yield refused("kms-image-exchanged", _CHECK, title, Knobs(edit_response=_other_image))
    why = "the KMS is genuine; from what its image was built nobody can see"
    title = "has the registry show nothing of the image that the KMS runs"
    yield warned("kms-image-withheld", _CHECK, title, Knobs(edit_response=_no_image), why)
    why = "a manifest that nobody sees is not a false one; nobody knows what the KMS runs"
    title = "hides what the KMS runs"
    knobs = Knobs(edit_kms=forged_kms.guest(public_tcbinfo=False))
    yield missing("kms-manifest-hidden", _CHECK, title, knobs, why)
    why = "a KMS without a contract is genuine; which of its builds are allowed nobody knows"
    title = "runs a KMS that no contract binds"
    knobs = Knobs(kms="hosted")
    yield warned("kms-without-contract", _CHECK, title, knobs, why)


def answering() -> Iterator[Attack]:
    """Who answers the KMS, where its manifest names the contract that everybody looks at."""
    why = "the KMS is genuine; whoever wrote its manifest decides, unseen, who gets the keys"
    asked, node = (f"{KMS_IMAGES[name].reference}\n" for name in ("auth-api", "node"))
    other = keys.labelled("another contract", 20).hex()
    command = f"    command: [sh, -c, '{_CONTRACT}{other} exec node dist/src/main.js']\n"
    relay = "    command: [socat, 'TCP-LISTEN:8545,fork', 'TCP:node.example:8545']\n"
    for name, title, edit in (
        ("kms-auth-own-command", "starts the service that the KMS asks with another contract",
         forged_kms.manifest(asked, asked + command)),
        ("kms-auth-alias", "gives a second service the name of the one that the KMS asks",
         forged_kms.manifest(
             _CONFIGS,
             f"  second:\n    image: {asked}    restart: unless-stopped\n    read_only: true\n"
             "    user: '1000:1000'\n    cap_drop: [ALL]\n"
             "    security_opt: [no-new-privileges:true]\n"
             f"    networks:\n      default:\n        aliases: [auth-api]\n{_CONFIGS}")),
        ("kms-config-elsewhere", "puts the configuration of the KMS where it does not read it",
         forged_kms.manifest("target: /kms/kms.toml", "target: /kms/unused.toml")),
        ("kms-node-command", "has the node of the KMS pass calls on to one of its own",
         forged_kms.manifest(node, node + relay)),
    ):  # fmt: skip
        yield warned(name, _CHECK, title, Knobs(edit_kms=edit), why)
