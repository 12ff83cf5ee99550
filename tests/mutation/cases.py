"""The evidence that is mutated: simulated worlds, and what others recorded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from msgspec.structs import replace

from tests.evidence import recorded
from tests.worlds import monotone
from tests.worlds.audited import Audited
from verifier.audit import audit_bundle
from verifier.checks.case import Question
from verifier.evidence.bundle import Bundle
from verifier.evidence.readings import Readings
from verifier.model.report import Report
from verifier.policy.policy import Policy, load_policy

EV18: Final = "collateral/tdx_90C06F000000_2026-04-24_ev18.json"
EV19: Final = "collateral/tdx_90C06F000000_2026-06-10_ev19.json"
EV20: Final = "collateral/tdx_90C06F000000_2026-08-20_ev20.json"
B0_EV19: Final = "collateral/tdx_B0C06F000000_2026-06-10_ev19.json"
NRAS: Final = ("gpu/nras_gemma_2026-06-10.json", "gpu/nras_jwks_2026-06-10.json")
SNP: Final = ("sev_snp_attestation.bin", "sev_snp_ask.pem", "sev_snp_vcek.pem")
NEAR: Final = {
    "2025-11-19": "2025-12-11_1b075a77b",
    "2026-02-18": "2026-02-18_3e1eb3ffd",
    "2026-03-23T21:17:00": "2026-03-23_d84519915",
}

RECORDED: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    **{
        f"recorded-node-{name}": (
            at,
            tuple(
                f"near-mpc/{name}/{part}.json"
                for part in ("app_compose", "tcb_info", "collateral", "quote")
            ),
        )
        for at, name in NEAR.items()
    },
    "recorded-gpu-app": ("2026-06-10T23:00", ("info/info_dstack-nvidia-0.5.5.json", EV19)),
    "recorded-gpu-app-later": ("2026-08-21", ("info/info_dstack-nvidia-0.5.5.json", EV20)),
    "recorded-development": (
        "2026-06-10T23:00",
        ("info/info_dstack-nvidia-dev-0.5.7-477b919d.json", EV19),
    ),
    "recorded-app-0.5.4": ("2026-06-10T23:00", ("info/info_os-da9a3d5c.json", B0_EV19)),
    "recorded-kms-base": ("2026-06-10T23:00", ("kms/info_prod6BaseV053.json", EV19)),
    "recorded-kms-phala": ("2026-04-24T23:00", ("kms/info_prod6PhalaV054.json", EV18)),
    "recorded-kms-0.5.4.1": ("2026-06-10T23:00", ("kms/info_prod10-pha.json", B0_EV19)),
    "recorded-get-quote": ("2026-06-10T23:00", ("getquote/quote-report.json", EV19)),
    "recorded-page": ("2026-05-01", ("8090-page/hermes_2026-04-23.html", EV18)),
    "recorded-lite": ("2026-06-11", ("attestation/tdx-lite-attestation.json", EV19)),
    "recorded-simulator": (
        "2026-06-10T23:00",
        ("simulator/attestation.bin", "simulator/app-compose.json", B0_EV19),
    ),
    "recorded-app-0.3": (
        "2025-09-01",
        ("v03-app/quote.hex", "v03-app/quote_collateral.json", "v03-app/tcb_info.json"),
    ),
    "recorded-no-app": (
        "2025-06-20",
        ("dcap-qvl/tdx_quote", "dcap-qvl/tdx_quote_collateral.json"),
    ),
    "recorded-outdated": (
        "2026-02-20",
        ("dcap-qvl/tdx_quote_outdated", "dcap-qvl/tdx_quote_outdated_collateral.json"),
    ),
    "recorded-gpu": ("2026-04-24T23:00", ("gpu/gemma-1gpu_2026-03-25.json", *NRAS, EV18)),
    "recorded-gpus": ("2026-04-24T23:00", ("gpu/glm-4.7-8gpu_2026-03-25.json", EV18)),
    "recorded-snp": ("2026-08-01", tuple(f"platforms/{name}" for name in SNP)),
    "recorded-nitro": ("2026-08-01", ("platforms/nitro_attestation.bin",)),
}


class _Shared(Readings):
    """What was read of a whole bundle, for one audit of a damaged one."""

    def __init__(self, whole: Readings) -> None:
        super().__init__()
        self._found |= whole._found  # noqa: SLF001 - of the same class
        self._once |= whole._once  # noqa: SLF001 - of the same class


@dataclass(frozen=True, repr=False)
class Case:
    """Some evidence, what was asked about it, and what came of it undamaged."""

    name: str
    bundle: Bundle
    question: Question
    policy: Policy
    target: str
    report: Report

    def again(self, bundle: Bundle, *, unread: bool = False) -> Report:
        """The same question put to other evidence; what both have in common is read once, unless
        nothing is to be known of it."""
        readings = Readings() if unread else _Shared(self.bundle.readings)
        evidence = replace(bundle, readings=readings)
        return audit_bundle(evidence, self.target, self.question, self.policy)


def cases() -> Mapping[str, Callable[[], Case]]:
    """How to make every case, by name: recorded ones only where there are any."""
    made: dict[str, Callable[[], Case]] = {
        name: partial(_of_world, name, make) for name, make in monotone.worlds().items()
    }
    if recorded.RECORDED.is_dir():
        made |= {name: partial(_recorded, name) for name in RECORDED}
    return made


def _of_world(name: str, make: Callable[[], Audited]) -> Case:
    made = make()
    target = made.world.app_id
    return Case(name, made.bundle, made.question, made.policy, target, made.report)


def _recorded(name: str) -> Case:
    at, paths = RECORDED[name]
    bundle, question = recorded.imported(at, None, *paths)
    policy = load_policy("baseline")
    report = audit_bundle(bundle, "recorded", question, policy)
    named = {item.name: item for item in report.subjects[0].claims}.get("app_id")
    if named is not None and named.value:
        bundle, question = recorded.imported(at, str(named.value), *paths)
        report = audit_bundle(bundle, "recorded", question, policy)
    return Case(name, bundle, question, policy, "recorded", report)
