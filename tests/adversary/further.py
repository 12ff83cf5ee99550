"""Powers that are no attack alone, or no attack of the catalogue."""

from typing import Final

from msgspec.structs import replace

from tests.adversary.model import Fact, Liar, Power, Trace
from tests.adversary.worlds import CHALLENGE, HONEST, WORKFLOW
from verifier.evidence.bundle import Kind
from verifier.evidence.codec import JsonObject
from verifier.lab import forgeries as forge
from verifier.lab import keys, omissions
from verifier.lab.attacks.history import _one_says_delay
from verifier.lab.cert import kms_ca_key
from verifier.lab.registry import WEB, Image
from verifier.lab.response import Response
from verifier.lab.sigstore import Sigstore, Workflow, provenance
from verifier.lab.world import build


def _true_kms_named(manifest: dict[str, object]) -> dict[str, object]:
    return {**manifest, "key_provider_id": keys.spki(kms_ca_key("onchain")).hex()}


def _true_certificate(method: str, url: str, body: bytes, response: Response) -> Response:
    """Show the certificate that the true KMS gave to an honest guest of equal registers."""
    certificate = build(HONEST).guest.app_cert
    return forge.info_field("app_cert", certificate)(method, url, body, response)


_HOST: Final = (
    Power(
        name="fake-kms-under-the-true-name",
        liar=Liar.HOST,
        about=(Fact.KEYS, Fact.APP),
        claims="challenge",  # the app's code answers it, by the key that it was given
        knobs={
            "challenge": b"",
            "app_key_report_data": CHALLENGE + keys.labelled("hash of the guest's own key", 32),
            "kms": "attacker",
            "kms_answers": "onchain",
            "app_on_chain": True,
            "edit_manifest": _true_kms_named,
            "edit_events": forge.names_the_true_kms,
        },
    ),
    Power(
        name="certificate-kept-back",
        liar=Liar.HOST,
        about=(),
        hides=("certificate",),
        claims="certificate",
        knobs={"edit_response": forge.no_certificate},
    ),
    Power(
        name="certificate-of-an-equal-guest",
        liar=Liar.HOST,
        about=(),
        hides=("certificate", "quote"),  # that one carries a quote of its own
        claims="certificate",
        knobs={"edit_response": _true_certificate},
    ),
    Power(
        name="users-led-to-an-equal-guest",
        liar=Liar.HOST,
        about=(),
        hides=("certificate", "quote"),
        claims="gpus",  # it is equal while nobody gives the machine another port
        within="plain",
        knobs={"peer": lambda _world, host: build(HONEST).peer(host)},
    ),
    Power(
        name="fake-kms-shows-no-code",
        liar=Liar.HOST,
        about=(Fact.KMS,),
        claims="mr-kms",
        knobs={"edit_events": forge.measured_without("mr-kms")},
    ),
    Power(
        name="challenge-not-answered",
        liar=Liar.HOST,
        about=(Fact.FRESH,),
        claims="challenge",
        knobs={"challenge": b""},
    ),
    Power(
        name="challenge-answered-with-something-else",
        liar=Liar.HOST,
        about=(Fact.FRESH, Fact.APP),
        hides=("certificate",),
        claims="challenge",
        knobs={
            "challenge": b"",
            "app_key_report_data": b"\7" * 64,
            "edit_response": forge.no_certificate,
        },
    ),
    Power(
        name="challenge-answered-without-a-key",
        liar=Liar.HOST,
        about=(Fact.KEYS,),
        claims="challenge",
        knobs={"challenge": b"", "app_key_report_data": CHALLENGE + bytes(32)},
    ),
    Power(
        name="machine-of-its-own",
        liar=Liar.HOST,
        about=(Fact.HELD,),
        trace=Trace.CERTAIN,
        knobs={"platform": "platform-2"},
    ),
    Power(
        name="page-kept-back",
        liar=Liar.HOST,
        about=(),
        claims="page",
        knobs={"edit_response": omissions.page_hidden},
    ),
)
_ATTACKER: Final = "https://github.com/attacker/evil"


class _Called(Workflow, frozen=True, kw_only=True):
    """The workflow that the relying party names, as another repository calls it: the certificate
    names the called workflow in its subject, and the caller in its extensions."""

    @property
    def identity(self) -> str:
        """The subject alternative name."""
        return WORKFLOW


def _called(sigstore: Sigstore, image: Image) -> list[JsonObject]:
    statement = provenance(image.hex_digest, repository=_ATTACKER)
    return [sigstore.sign(statement, _Called(repository=_ATTACKER))]


_WITNESSED: Final = (
    *(Fact.ALLOWED, Fact.CONTROL, Fact.NOTICE, Fact.PAST),
    *(Fact.ENDPOINT, Fact.NAME),
)
"""What no signature shows: whoever asked is the only witness of what was answered."""

_OTHERS: Final = (
    Power(
        name="any-machine-allowed",
        liar=Liar.OWNER,
        about=(Fact.ALLOWED,),
        claims="any-machine",
        knobs={"allow_any_device": True},
    ),
    Power(
        name="kms-of-an-older-release",
        liar=Liar.KMS,
        about=(Fact.KEYS,),
        claims="env-key",
        knobs={"kms_version": "0.5.5"},
    ),
    Power(
        name="state-of-two-hours-ago",
        liar=Liar.OPERATORS,
        about=(Fact.ALLOWED,),
        knobs={"finalized_lag": 7200},
    ),
    Power(
        name="nobody-vouches",
        liar=Liar.MESSENGER,
        about=_WITNESSED,
        chooses=_WITNESSED,
        hides=("chain", "logs", "answers", "names", "search"),
        vouched=False,
    ),
    Power(
        name="named-workflow-called",
        liar=Liar.BUILDER,
        about=(Fact.SIGNER,),
        claims="image",
        knobs={"image": replace(WEB, source=_ATTACKER), "attest": _called},
    ),
    Power(
        name="one-says-allowed",
        liar=Liar.OPERATOR,
        about=(Fact.ALLOWED,),
        trace=Trace.DOUBT,
        knobs={"edit_response": forge.one_says_allowed},
    ),
    Power(
        name="one-says-delay",
        liar=Liar.OPERATOR,
        about=(),
        knobs={"edit_response": _one_says_delay},
    ),
)


def _without(*kinds: Kind) -> Power:
    names = "-".join(kind.value for kind in kinds)
    return Power(
        name=f"without-{names}",
        liar=Liar.MESSENGER,
        about=(),
        hides=_SHOWN[kinds[0]],
        claims=_SAID_BY_NOBODY_ELSE.get(kinds[0], ""),
        drops=kinds,
    )


_SAID_BY_NOBODY_ELSE: Final = {Kind.PCS_PCK_CRL: "rl", Kind.INFO: "info"}
"""Without it nobody says that there is a newer list, or what a guest states of itself."""


_SHOWN: Final = {
    Kind.INFO: ("certificate", "info", "log", "manifest"),
    Kind.PAGE: ("page", "manifest"),
    Kind.PCS_PCK_CRL: ("revocation",),
    Kind.KMS_ENV_KEY: ("kms",),
    Kind.KMS_TLS: ("kms-guest",),
    Kind.JSON_RPC: ("chain", "logs", "answers"),
    Kind.LOG_SCAN: ("logs", "answers"),
    Kind.SIGSTORE_BUNDLE: ("image", "attestation"),
    Kind.OCI_MANIFEST: ("image", "attestation", "kms-guest", "kms-image"),
    Kind.TLS_PEER: (),
    Kind.DNS_MESSAGE: ("names",),
    Kind.CT_SEARCH: ("search",),
    Kind.APP_KEY_QUOTE: (),
}


def powers() -> tuple[Power, ...]:
    """All of them."""
    return (*_HOST, *_OTHERS, *(_without(kind) for kind in _SHOWN))
