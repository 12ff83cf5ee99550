"""Who can do what, and what is then false.

Most powers are attacks of the catalogue. A line of a table has what is left behind, what is about
to be got wrong, and how (see `Power`), then the names of the attacks:

    certain sealed chooses:sealed shows:quote | debug-td service-td
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.adversary.model import Fact, Liar, Power, Trace
from verifier.lab.attacks import ATTACKS
from verifier.lab.attacks.attack import Attack
from verifier.lab.knobs import Knobs

_ATTACKS: Final = {attack.name: attack for attack in ATTACKS}
_DEFAULT: Final = Knobs()

_TABLES: Final[Mapping[Liar, str]] = {
    Liar.HOST: """
certain hardware chooses:hardware shows:quote | quote-signature quote-report-data
certain hardware chooses:hardware shows:quote | quote-attestation-key
certain hardware chooses:hardware shows:quote | quote-qe-report quote-qe-signature
certain hardware chooses:hardware shows:quote | quote-truncated foreign-root
certain hardware chooses:hardware shows:quote | rogue-platform-ca rogue-pck quote-of-sgx
certain hardware shows:revocation | collateral-expired-and-revoked
certain hardware shows:gpu claims:gpus | gpu-foreign-root gpu-other-firmware gpu-debug-mode
certain hardware shows:gpu claims:gpus | gpu-report-edited gpu-counted-twice gpu-two-keys-of-one
certain hardware shows:gpu claims:gpus | gpu-key-certifies-another gpu-verdict-of-failure
certain hardware shows:gpu claims:gpus | gpu-other-nonce-named
doubt hardware hides:gpu claims:gpus | gpu-silent gpu-unspoken gpu-verdict-on-others
doubt hardware hides:gpu claims:gpus | gpu-of-another-machine gpu-manifests-forged
doubt hardware hides:gpu claims:gpus | gpu-verdict-forged
certain hardware claims:snp | snp-debug snp-foreign-root snp-other-configuration
doubt hardware claims:snp | snp-of-another-app
certain hardware chooses:hardware shows:revocation | revoked-pck revoked-platform-ca
certain hardware chooses:hardware shows:revocation | revoked-tcb-signing
certain hardware chooses:hardware shows:revocation claims:rl | revoked-pck-older-list-beside
certain hardware chooses:hardware shows:revocation claims:rl | revoked-platform-ca-older-list-beside
certain hardware chooses:hardware shows:revocation claims:rl | revoked-tcb-signing-older-list-beside
certain hardware | rogue-tcb-signing rogue-pck-crl rogue-root-ca-crl tcb-signer-pck
certain hardware | tcb-info-signer-pck qe-identity-signer-pck qe-identity-edited
certain hardware | collateral-of-another-pce
certain hardware shows:tcb | tcb-out-of-date tcb-revoked tdx-module-out-of-date qe-out-of-date
certain hardware shows:tcb | tcb-hardening kinder-evaluation kinder-evaluation-beside
certain hardware shows:tcb | tcb-info-edited
doubt hardware | expired-platform-ca expired-pck expired-tcb-signing
doubt hardware,fresh hides:tcb | collateral-expired collateral-not-yet old-collateral
doubt hardware hides:tcb,revocation | collateral-of-another-platform
doubt hardware hides:revocation | old-revocation-list
certain sealed chooses:sealed shows:quote | debug-td seam-signer seam-attributes service-td
certain sealed chooses:sealed shows:quote | seam-signer-last-byte seam-attributes-last-bit
certain sealed chooses:sealed shows:quote | service-td-last-byte
certain sealed shows:quote | sept-ve-off unknown-attribute
doubt sealed | unknown-module unknown-features service-td-extension
certain image chooses:image | development-image
doubt image chooses:image | self-built-image
certain image hides:bootlog claims:bootlog | boot-log-digest boot-log-dropped
certain image hides:bootlog claims:bootlog | boot-log-kernel-hidden boot-digest-hidden
certain machine shows:bootlog | memory-map firmware-volume secure-boot-keys boot-order
certain machine shows:bootlog claims:boot-options | boot-option-added boot-option-dropped
doubt machine | boot-log-stripped-in-part
doubt machine hides:bootlog | own-acpi-tables
doubt machine hides:bootlog claims:bootlog | firmware-hidden
certain app | another-app
certain app,keys chooses:app | victim-id-no-kms
doubt app,keys chooses:app | victim-id-own-kms victim-id-unknown-provider
doubt keys,app hides:certificate | kms-by-its-name
doubt keys within:sealed | local-enclave-unknown
doubt keys | env-key-of-true-kms
certain code shows:log | payload-changed payload-and-digest-changed event-dropped
certain code shows:log | events-reordered two-boots-merged log-cut event-split-elsewhere
certain app shows:log | imr-true imr-text imr-float digest-short hex-upper hex-spaced hex-unicode
certain app,code,keys | second-compose-hash second-app-id second-key-provider no-key-provider
certain app,code,keys | kms-after-key-provider no-system-ready identity-out-of-order
certain app,code,keys | foreign-event-type app-id-short provider-twice encrypted-twice
certain keys shows:certificate | certificate-own-ca certificate-forged certificate-leaf-ca
certain app shows:certificate | certificate-of-another-app
certain keys shows:certificate | certificate-usage certificate-expired
certain keys shows:certificate | quote-of-another-td
certain allowed shows:chain | device-removed device-never-added image-removed image-never-added
certain code | config-id
certain image | image-hash-event
doubt image claims:info | config-names-another-image
""",
    Liar.DEPLOYER: """
certain code shows:manifest | manifest-byte manifest-newline manifest-bom manifest-reserialised
certain code shows:manifest | manifest-duplicate-key
certain ways shows:manifest | open-image input-renamed loader-renamed
doubt code hides:manifest | manifest-hidden
doubt ways claims:page | rules-left-open
certain code shows:info | info-states-otherwise
doubt code hides:info | info-without-compose-hash info-without-vm-config
certain app claims:page | page-row-twice page-foreign-entity page-textarea-elsewhere
certain code claims:page | page-two-textareas page-raw-markup page-utf-16
certain app | proof-of-another-td proof-of-another-app proof-of-another-instance
certain source shows:attestation | proof-of-another-commit proof-of-another-branch
certain keys | proof-of-another-kms
certain fresh | proof-of-another-time
doubt source hides:attestation claims:image | image-unpinned image-for-another-platform
certain allowed shows:chain | hash-removed hash-never-added no-contract app-not-registered
certain image | worse-instance instance-hides
certain allowed | instance-of-another-manifest
""",
    Liar.KMS: """
certain keys | root-of-another-kms
certain kms,allowed claims:mr-kms | kms-build-not-allowed
doubt kms claims:mr-kms | kms-build-not-measured
doubt kms hides:kms-guest | kms-certificate-own-ca
certain kms shows:kms-guest | kms-quote-lent kms-certificate-usage
certain kms chooses:kms shows:kms-guest | kms-debug
certain kms chooses:kms shows:kms-guest claims:kms-os | kms-development-image
certain kms shows:kms-guest | kms-log-forged
certain kms shows:kms-guest,kms-measured | kms-firmware
doubt kms chooses:kms hides:kms-measured claims:kms-os | kms-unknown-image
doubt kms | kms-enclave-unknown kms-node-by-number kms-node-unnamed kms-node-command
doubt kms | kms-auth-own-command kms-auth-alias kms-config-elsewhere
doubt kms claims:authorizer | kms-asks-operator
doubt kms hides:kms-image | kms-image-by-tag
certain kms shows:kms-guest,kms-measured | kms-now-unallowed
certain kms shows:kms-guest,kms-measured claims:authorizer | kms-other-contract
certain kms shows:kms-guest,kms-measured claims:authorizer | kms-authorizes-all
certain kms shows:kms-guest,kms-measured claims:authorizer | kms-authorizes-all-respelled
doubt kms hides:kms-guest | kms-manifest-hidden
doubt keys shows:kms claims:env-key | env-key-replayed
""",
    Liar.OWNER: """
certain allowed shows:chain | foreign-contract unknown-app-code unknown-kms-code
certain past shows:chain,logs | swapped-and-back swapped-and-dated swapped-and-spoilt
doubt past | swapped-says-one
certain allowed shows:chain | getter-lies decision-lies
certain keys shows:chain | ca-key-on-chain silent-root-key
doubt keys | ca-key-empty
certain past shows:chain,logs claims:any-machine | silent-flag
certain past shows:chain,logs claims:permission | silent-removal
certain past shows:chain,logs claims:owner | silent-owner silent-owner-and-back
doubt past | app-outside-factory app-other-factory
doubt control | one-key safe-without-notice kms-owner admin proposer threshold-lowered module
doubt notice | delay-lowered
doubt control | signers-with-code safe-passes-calls-on-undemanded owner-unknown
doubt control claims:word | owner-own-word
doubt control claims:owner | another-owner
doubt control claims:permission | unknown-manifest-undemanded
doubt control,notice | announced-lately announced-long-ago announced-owner
doubt control,notice | timelock-planted
doubt control | safe-set-up-by-code
doubt control,notice | announced-unknown-call safe-about-to-allow
""",
    Liar.OPERATOR: """
certain allowed,past shows:answers | rpc-lying-call rpc-other-hash rpc-no-logs rpc-invented-log
certain allowed,past shows:answers claims:count | rpc-dropped-log
certain past shows:answers | rpc-pruned
certain past shows:answers claims:order | rpc-reordered-logs answer-reordered
certain past shows:answers claims:count | rpc-duplicated-log answer-duplicated
certain past shows:answers | log-hidden log-invented log-of-another-block log-of-another-time
certain past shows:answers | log-content answer-removed
certain past shows:answers | answer-of-another-contract answer-not-hex
certain control shows:answers claims:word | owner-by-one-operator
doubt control hides:answers | proposer-hidden-by-one
certain allowed shows:answers | rpc-future-block
doubt allowed | rpc-stale-one-operator rpc-late-one-operator
doubt allowed hides:answers | rpc-error rpc-null rpc-other-chain
""",
    Liar.OPERATORS: """
certain allowed,past shows:logs | rpc-no-logs-anywhere
doubt allowed,past hides:chain,logs | rpc-error-everywhere rpc-null-everywhere
doubt allowed,past hides:chain,logs | rpc-other-chain-everywhere
certain past shows:logs claims:permission | log-hidden-everywhere log-invented-everywhere
certain past,control shows:logs | log-of-owner-hidden-everywhere
certain past shows:logs | rpc-pruned-everywhere image-again-hidden
doubt allowed | rpc-stale-everywhere rpc-future-block-everywhere
doubt past hides:logs | rpc-log-range
""",
    Liar.BUILDER: """
certain source | image-other-platform
doubt source hides:attestation | attestation-hidden attestation-of-another-workflow
doubt source hides:attestation | attestation-by-another-workflow attestation-of-another-digest
doubt source hides:attestation | attestation-of-another-commit attestation-on-own-runner
doubt source hides:attestation | attestation-of-another-issuer attestation-of-another-instance
doubt source hides:attestation | attestation-after-expiry attestation-from-later
doubt source hides:attestation | attestation-inclusion-proof attestation-log-promise
doubt source hides:attestation | attestation-log-entry attestation-signature attestation-statement
doubt source | image-tag-of-another-commit image-label-of-another-commit
""",
    Liar.REGISTRY: """
certain source shows:image | image-other-manifest image-other-configuration
doubt source hides:image,attestation,kms-guest,kms-image | image-absent image-unanswered
certain kms shows:kms-guest,kms-image | kms-image-exchanged
doubt kms hides:kms-guest,kms-image | kms-image-withheld
""",
    Liar.GATEWAY: """
certain keys shows:kms claims:env-key | env-key-forged env-key-of-another-app
certain keys shows:kms claims:env-key | env-key-dated-anew env-key-without-time
doubt keys claims:env-key | env-key-undated
doubt kms hides:kms-guest | kms-certificate-hidden
certain endpoint chooses:endpoint | endpoint-lent-quote
certain endpoint,app | endpoint-of-another-app
doubt endpoint chooses:endpoint | endpoint-web-certificate endpoint-of-the-apps-ca
doubt endpoint chooses:endpoint | endpoint-of-another-apps-ca
certain endpoint | gateway-lent-quote gateway-own-manifest gateway-development-image
doubt endpoint | gateway-hides-its-keys endpoint-at-the-gateway
doubt endpoint,name | domain-through-a-stranger domain-through-another-gateway
certain endpoint | endpoint-unreadable-name
""",
    Liar.NAMES: """
certain name shows:names | domain-of-another-app domain-told-twice
doubt name hides:names | domain-without-app
doubt name | domain-without-caa domain-other-account domain-other-ca domain-standing-permission
doubt name,endpoint shows:search | logged-for-another-key logged-for-the-gateways-names
doubt name hides:search | logs-unsearched
certain endpoint | ingress-forged-quote
doubt endpoint,name | ingress-names-another-account
""",
    Liar.MESSENGER: """
certain app | quotes-mixed
certain sealed | quote-beside-with-debug
certain keys shows:kms | app-key-link app-key-kms app-key-of-another-app
certain keys shows:kms | app-key-of-another-domain
certain past shows:logs | cache-hidden cache-invented cache-hash
certain hardware claims:rl | revoked-pck-list-handed-over
""",
}


def _turned(attack: Attack) -> dict[str, Any]:
    found = {name: getattr(attack.knobs, name) for name in Knobs.__struct_fields__}
    return {name: value for name, value in found.items() if value != getattr(_DEFAULT, name)}


def _facts(text: str) -> tuple[Fact, ...]:
    return tuple(Fact[name.upper()] for name in text.split(","))


def _read(liar: Liar, line: str) -> Iterator[Power]:
    how, _, names = line.partition("|")
    trace, about, *options = how.split()
    told = dict(option.split(":") for option in options)
    for name in names.split():
        attack = _ATTACKS[name]
        yield Power(
            name=name,
            liar=liar,
            about=_facts(about),
            chooses=_facts(told["chooses"]) if "chooses" in told else (),
            trace=Trace[trace.upper()],
            shows=tuple(told["shows"].split(",")) if "shows" in told else (),
            hides=tuple(told["hides"].split(",")) if "hides" in told else (),
            claims=told.get("claims", ""),
            knobs=_turned(attack),
            handed=attack.handed_over,
            spoils=attack.edit_artifact,
            endpoint=attack.endpoint,
            within=told.get("within", ""),
        )


def powers() -> dict[str, Power]:
    """Every power, by its name."""
    from tests.adversary import further  # noqa: PLC0415 - it takes powers of this table apart

    read = [
        power
        for liar, table in _TABLES.items()
        for line in table.strip().splitlines()
        for power in _read(liar, line)
    ]
    found = {power.name: power for power in (*read, *further.powers())}
    assert len(found) == len(read) + len(further.powers()), "two powers have one name"
    return found
