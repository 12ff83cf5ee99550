"""Attacks on the keys that the app gets, and on the contracts that allow it."""

from collections.abc import Iterator

from verifier.lab import forgeries as forge
from verifier.lab import omissions
from verifier.lab.attacks.attack import HONEST, Attack, missing, refused, warned
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.rpc import RpcFault
from verifier.model.result import Verdict


def key_management() -> Iterator[Attack]:
    """Keys of another KMS, or of none."""
    check = "key_management.provider"
    title = "names the CA key of one KMS on a contract that publishes the root key of another"
    yield refused("root-of-another-kms", check, title, Knobs(kms_k256="hosted"))
    title = "publishes another CA key on chain than the guest measured"
    yield refused("ca-key-on-chain", check, title, Knobs(edit_chain=forge.lying_kms_info))
    why = "an empty key on chain equals nothing and contradicts nothing"
    title = "publishes no CA key, so that nothing is compared with nothing"
    yield missing("ca-key-empty", check, title, Knobs(ca_pubkey=b""), why)
    title = "gets its keys from a simulator's KMS, whose keys are public"
    denied = forge.denying("ca-spki", lambda world: world.kms.ca_spki.hex())
    yield refused("simulator-kms", check, title, HONEST, denied=denied)
    title = "shows what the true KMS signed for the victim, while its keys are its own"
    knobs = Knobs(kms="attacker", kms_answers="onchain")
    why = "the guest names a KMS that nobody knows; what another one signed says nothing of it"
    yield missing("env-key-of-true-kms", check, title, knobs, why)
    title = "has one operator answer every call with yes"
    knobs = Knobs(rpc_faults={"a": RpcFault.LYING_CALL})
    yield refused("rpc-lying-call", check, title, knobs)
    why = "what is on another chain says nothing about this one"
    title = "has every operator serve another chain"
    yield missing("rpc-other-chain-everywhere", check, title, Knobs(chain_id=1), why)
    yield from _builds()
    yield from _root()
    yield warned(
        "local-enclave-unknown",
        check,
        "seals the guest's keys with an SGX enclave of its own",
        Knobs(key_provider="local-sgx", enclave=b"\xab" * 32),
        "the guest is genuine; an enclave that nobody knows may have kept its keys",
        twin=Knobs(key_provider="local-sgx"),
        twin_verdict=Verdict.WARNING,
    )
    check = "key_management.certificate"
    for name, title, knobs in (
        ("certificate-own-ca", "issues the app certificate itself", Knobs(cert_ca="attacker")),
        ("certificate-forged", "puts the KMS's CA above its own", Knobs(cert_forged=True)),
        ("certificate-of-another-app", "shows a certificate that the KMS issued to another app",
         Knobs(cert_app_id=forge.OTHER_APP)),
        ("certificate-leaf-ca", "gets a leaf with the rights of a CA", Knobs(cert_leaf_is_ca=True)),
        ("certificate-usage", "shows a certificate for another use", Knobs(cert_usage="kms:rpc")),
        ("certificate-expired", "shows a certificate whose time is over",
         Knobs(cert_issued=HONEST.now - 3700 * DAY)),
    ):  # fmt: skip
        yield refused(name, check, title, knobs)


def _builds() -> Iterator[Attack]:
    """What a guest measures of the KMS that it met."""
    title = "gets its keys from a KMS that shows no attestation of its own"
    knobs = Knobs(edit_events=forge.measured_without("mr-kms"))
    why = "the guest is genuine, and does not say what code the KMS that it met runs"
    yield warned("kms-build-not-measured", "key_management.provider", title, knobs, why)
    title = "gets its keys from a build of the KMS that the contract does not allow"
    knobs = Knobs(edit_events=forge.measured_as("mr-kms", b"\x66" * 32))
    yield refused("kms-build-not-allowed", "authorization.allowed", title, knobs)


def _root() -> Iterator[Attack]:
    """Signatures of other root keys."""
    check = "key_management.root"
    denied = forge.denying("k256-address", forge.root_address)
    title = "shows signatures of a simulator's root key, which is public"
    provider = "application.identity key_management.provider"
    yield refused("simulator-root-key", provider, title, HONEST, denied=denied)
    title = "answers in the KMS's place with a key of its own"
    yield refused("env-key-forged", check, title, Knobs(kms_answers="attacker"))
    knobs = Knobs(edit_response=forge.env_key_of_another_app)
    title = "shows the key that the KMS signed for another app"
    yield refused("env-key-of-another-app", check, title, knobs)
    for name, title, chain in (
        ("app-key-link", "derives a key from an unsigned app key", forge.foreign_link),
        ("app-key-kms", "signs the app key with its own KMS", forge.chain_of_another_kms),
        ("app-key-of-another-app", "shows another app's key chain", forge.chain_of_another_app),
    ):
        both = {"handed_over": chain, "twin_handed_over": forge.key_chain}
        yield refused(name, check, title, HONEST, **both)
    both = {"handed_over": forge.chain_of_another_domain, "twin_handed_over": forge.key_chain_v1}
    title = "shows a key that the app asked for, under another domain than it was asked for"
    yield refused("app-key-of-another-domain", check, title, HONEST, **both)
    title = "replays an undated signature of the KMS with a date that the KMS did not sign"
    knobs = Knobs(edit_response=forge.redated_env_key)
    yield refused("env-key-dated-anew", check, title, knobs)
    why = "a replayed signature is genuine; it says that the KMS answered once"
    title = "replays a signature of the KMS"
    yield warned("env-key-replayed", check, title, Knobs(edit_response=forge.stale_env_key), why)
    why = "KMS releases before 0.5.6 date nothing; such an answer may be of any time"
    title = "strips the time of the KMS's signature, and what signs it"
    knobs = Knobs(edit_response=omissions.undated_env_key("timestamp", "signature_v1"))
    yield warned("env-key-undated", check, title, knobs, why)
    title = "strips the time of the KMS's signature, and leaves what signs it"
    knobs = Knobs(edit_response=omissions.undated_env_key("timestamp"))
    yield refused("env-key-without-time", check, title, knobs)


def authorization() -> Iterator[Attack]:
    """Contracts and operators that allow what was not allowed."""
    check = "authorization.contract"
    upgraded = Knobs(edit_chain=forge.upgraded_to_known)
    for name, title, edit, twin in (
        ("foreign-contract", "has a contract of its own at the app id",
         forge.foreign_contract, HONEST),
        ("unknown-app-code", "upgrades the app to code that allows everything",
         forge.unknown_app_code, upgraded),
        ("unknown-kms-code", "upgrades the KMS contract to unknown code",
         forge.unknown_kms_code, HONEST),
    ):  # fmt: skip
        yield refused(name, check, title, Knobs(edit_chain=edit), twin=twin)
    title = "names an app id at which there is no contract"
    yield refused("no-contract", check, title, Knobs(app_on_chain=False))
    title = "passes a KMS of one contract generation as one of another"
    knobs = HONEST
    yield refused("other-generation", check, title, knobs, reference=forge.older_generation)
    title = "has one operator give another block at the same height"
    knobs = Knobs(rpc_faults={"a": RpcFault.OTHER_HASH})
    yield refused("rpc-other-hash", check, title, knobs)
    for fault in (RpcFault.ERROR, RpcFault.NULL):
        title = f"has one operator answer every question with {fault}"
        why = "what one operator says is worth less than what two agree on"
        yield warned(f"rpc-{fault}", check, title, Knobs(rpc_faults={"a": fault}), why)
        title = f"has every operator answer with {fault}"
        why = "an error is an error, and no answer"
        knobs = Knobs(rpc_faults=dict.fromkeys("ab", fault))
        yield missing(f"rpc-{fault}-everywhere", "key_management.provider", title, knobs, why)
    why = "an endpoint of another chain says nothing of this one, and the other one is alone"
    knobs = Knobs(rpc_faults={"a": RpcFault.OTHER_CHAIN})
    yield warned("rpc-other-chain", check, "has one operator serve another chain", knobs, why)
    why = "history that no endpoint gives is unknown, which is a doubt"
    knobs, title = Knobs(log_range=1), "refuses a wide range of logs"
    yield missing("rpc-log-range", "authorization.history", title, knobs, why)
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
        yield refused(name, check, title, knobs)
    for operators, name in (("a", "one-operator"), ("ab", "everywhere")):
        knobs = Knobs(rpc_faults=dict.fromkeys(operators, RpcFault.STALE_FINALIZED))
        title = f"passes an old block as the finalized one ({name.replace('-', ' ')})"
        why = "an old block is a true one; it says nothing about now"
        yield missing(f"rpc-stale-{name}", check, title, knobs, why)
    knobs = Knobs(compose_hash_on_chain="removed-lately", rpc_faults={"a": RpcFault.LATE_FINALIZED})
    title = "has one operator pass a block as finalized in which a withdrawn manifest is allowed"
    why = "an older block is a true one, and nodes hear of finality at different times"
    yield missing("rpc-late-one-operator", check, title, knobs, why)
