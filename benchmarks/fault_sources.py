"""The sources that an audit asks, and what is asked of each: the rows of the table of faults."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.fault_servers import FAULTS, Fault
from verifier.lab.knobs import Governance
from verifier.lab.world import DOMAIN

APP: Final = "{app}"
CHALLENGE: Final = "c0" * 32
EXPLORER: Final = "explorer.lab.invalid"
DASHBOARD: Final = "trust.lab.invalid"
SAFE: Final = "safe.lab.invalid"


@dataclass(frozen=True)
class Source:
    """One source, and the audit that asks it.

    name     what it is
    hosts    where it is, as names or `.suffixes`
    options  what is asked with it; () for an audit of the app alone
    target   what is audited
    spare    whether an honest app is affirmed without it: others say the same, or nobody asks
    gone     what is not there at all in such an audit
    ruled    who governs the app
    called   what reports call it, where they do not name its host
    """

    name: str
    hosts: tuple[str, ...]
    options: tuple[str, ...] = ()
    target: str = APP
    spare: bool = False
    gone: tuple[str, ...] = ()
    ruled: Governance = "timelock"
    called: str = ""


GUESTS: Final = ".gw.lab.invalid"
ENDED: Final = f"{APP}-443s.gw.lab.invalid"
SERVED: Final = f"{APP}-443.gw.lab.invalid"
OWN: Final = ("--endpoint", f"{DOMAIN}:443")
CLOUD: Final = "cloud-api.phala.com"
LOGGED: Final = ("--ct-url", "https://ct.lab.invalid")
ASKED: Final = (
    *("--challenge", CHALLENGE, "--challenge-url"),
    f"https://{ENDED}/attestation?nonce={{challenge}}",
)
SOURCES: Final = (
    Source("guest", (GUESTS,), gone=(CLOUD,)),
    Source("collateral", ("pcs.lab.invalid",)),
    Source("KMS", ("kms.gw.lab.invalid",), called="the KMS"),
    Source("one RPC endpoint", ("rpc-a.lab.invalid",)),
    Source("both RPC endpoints", ("rpc-a.lab.invalid", "rpc-b.lab.invalid")),
    Source("explorer", (EXPLORER,), ("--explorer-url", f"https://{EXPLORER}/api"), spare=True),
    Source("Safe service", (SAFE,), ("--safe-url", f"https://{SAFE}"), ruled="safe"),
    Source("registry", ("registry.lab.invalid",)),
    Source("attestations", ("api.github.com",)),
    Source("DNS of a domain", ("dns.google",), ("--expect-app-id", APP), target=DOMAIN),
    Source("one resolver", ("dns.google",), OWN),
    Source("both resolvers", ("dns.google", "cloudflare-dns.com"), OWN),
    Source("endpoint", (ENDED,), ("--endpoint", ENDED)),
    Source("gateway", ("gateway.gw.lab.invalid",), ("--endpoint", SERVED), called="the gateway"),
    Source("certificate log", ("ct.lab.invalid",), (*OWN, *LOGGED)),
    Source("challenged app", (ENDED,), ASKED),
    Source("cloud API", (CLOUD,), gone=(GUESTS,)),
    Source(
        "dashboard",
        (DASHBOARD,),
        ("--compare", f"trust-center=https://{DASHBOARD}/r.json"),
        spare=True,
    ),
)


@dataclass(frozen=True)
class Row:
    """One row: which source fails how."""

    source: Source
    fault: Fault

    @property
    def key(self) -> str:
        """What tells it from the others."""
        return f"{self.source.name} | {self.fault.says}"


HONEST: Final = Fault("is honest", harmless=True)


def rows() -> Iterator[Row]:
    """Every row of the table."""
    for source in SOURCES:
        yield from (Row(source, fault) for fault in (HONEST, *FAULTS))


HOSTS: Final = (
    *(host for source in SOURCES for host in source.hosts),
    *("certificates.trustedservices.intel.com", "cloudflare-dns.com", DOMAIN),
)
"""Where honest servers are."""

OTHERS: Final = "answers as another app's"
FINDINGS: Final = {
    *(f"{name} | {OTHERS}" for name in ("guest", "KMS", "challenged app")),
    *(f"{name} | {OTHERS}" for name in ("both RPC endpoints", "both resolvers")),
    *(f"registry | {says}" for says in (OTHERS, "answers {}", "answers null", "answers nothing")),
}
"""What is a finding: the guest and its KMS show who they are by what they sign, two operators
agree, and bytes under a digest are not those of the digest."""
UNNAMED: Final = {
    f"{name} | {fault.says}"
    for name in ("one RPC endpoint", "both RPC endpoints", "cloud API")
    for fault in FAULTS
}
"""Where what came cannot be read, a report says how many answered, and not yet which did not."""

UNSPOILT: Final = {
    *(f"{name} | sends no UTF-8" for name in ("DNS of a domain", "one resolver", "both resolvers")),
    *(f"certificate log | {says}" for says in ("sends no UTF-8", "fills up with blanks")),
}
"""Where a fault changes nothing: there are no quotes in a DNS message, nor in a log's empty list,
which may have blanks behind it."""


def understood(row: Row) -> bool:
    """Whether the source still says what it has to: an answer in form, one that is not read for
    what the fault spoils, or a certificate that nobody trusts for its name."""
    if row.key in UNSPOILT:
        return True
    if row.source.name == "endpoint":
        return not (row.fault.place or row.fault.greet or row.fault.shows != "good")
    if row.fault.shows != "good":
        return row.source.name == "challenged app"
    return row.fault.serve is None and row.key not in FINDINGS
