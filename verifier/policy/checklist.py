"""The deployment checklist of the dstack pitfalls guide (chapter 11): what is met, and what is not.

Each point is decided by what was given: Dockerfiles and manifests of the author's own, the manifest
that was measured, and the audit of the app that runs. What was not given, and what nobody outside
can see, is not known; a point is met only where something shows it.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Final

from msgspec import Struct

from verifier.manifest.audit import ManifestAudit
from verifier.manifest.image import Kind, image_of
from verifier.manifest.model import Manifest
from verifier.manifest.rules.env.inputs import live_inputs
from verifier.model.report import Report
from verifier.model.result import Basis, CheckResult, Finding, JsonValue, Severity, Status
from verifier.reference import env_classes

_PROVEN: Final = ("hardware.quote", "hardware.td", "runtime.replay", "application.identity")
_MAX_NAMED: Final = 6


class Standing(StrEnum):
    """How a point stands."""

    MET = "met"
    NOT_MET = "not met"
    NOT_KNOWN = "not known"


class Build(Struct, frozen=True):
    """A Dockerfile by its name, and what its rules find."""

    name: str
    audit: ManifestAudit


class Written(Struct, frozen=True):
    """A manifest or compose file by its name. `measured` says that it is what a guest measured."""

    name: str
    manifest: Manifest
    audit: ManifestAudit
    measured: bool = False


class Given(Struct, frozen=True, kw_only=True):
    """All that the checklist is held against. `expected` are compose hashes (hex) of the author's;
    `report` is the audit of the running app, None without one."""

    builds: tuple[Build, ...] = ()
    written: tuple[Written, ...] = ()
    report: Report | None = None
    expected: tuple[str, ...] = ()

    @property
    def measured(self) -> tuple[Written, ...]:
        """The manifests that guests measured."""
        return tuple(item for item in self.written if item.measured)

    def status(self, check: str) -> Status | None:
        """The status of a check of the worst attester, None where nothing was audited."""
        found = self.result(check)
        return None if found is None else found.status

    def result(self, check: str) -> CheckResult | None:
        """The result of a check of the worst attester."""
        subjects = self.report.subjects[:1] if self.report is not None else ()
        return next((item for part in subjects for item in part.checks if item.id == check), None)

    def claim(self, name: str) -> JsonValue:
        """What is proven of the worst attester, None where that is merely said, or rests on a check
        that does not hold."""
        for part in self.report.subjects[:1] if self.report is not None else ():
            held = {item.id for item in part.checks if item.status in (Status.PASS, Status.WARN)}
            for claim in part.claims:
                stated = claim.basis in (Basis.ASSERTED, Basis.UNKNOWN)
                if claim.name == name and not stated and held.issuperset(claim.conditions):
                    return claim.value
        return None


Answer = tuple[Standing, str]


class Point(Struct, frozen=True):
    """One line of the checklist, and what decides it."""

    phase: str
    title: str
    decide: Callable[[Given], Answer]


class Decided(Struct, frozen=True):
    """A point, how it stands, and why."""

    point: Point
    standing: Standing
    reason: str


def decide_all(given: Given) -> tuple[Decided, ...]:
    """Every point of the checklist, in its order."""
    return tuple(Decided(point, *point.decide(given)) for point in POINTS)


def conclusion(decided: Iterable[Decided]) -> Standing:
    """Not met with one point that is not, else not known with one that is not, else met."""
    standings = {item.standing for item in decided}
    return next(
        item for item in (Standing.NOT_MET, Standing.NOT_KNOWN, Standing.MET) if item in standings
    )


def _met(reason: str) -> Answer:
    return Standing.MET, reason


def _not_met(reason: str) -> Answer:
    return Standing.NOT_MET, reason


def _not_known(reason: str) -> Answer:
    return Standing.NOT_KNOWN, reason


def _listed(items: Iterable[str]) -> str:
    names = list(dict.fromkeys(items))
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return "; ".join(names[:_MAX_NAMED]) + more


def _by_builds(given: Given, rule: str, fine: str) -> Answer:
    """Whether no Dockerfile breaks a rule by a finding of its own severity."""
    if not given.builds:
        return _not_known("no Dockerfile was given")
    found = [
        f"{build.name} line {finding.location.line}: {finding.message}"
        for build in given.builds
        for finding in build.audit.findings
        if finding.rule == rule
    ]
    if found:
        return _not_met(_listed(found))
    unread = [
        f"{item.name}: {item.audit.compose_problem}"
        for item in given.builds
        if item.audit.compose_problem
    ]
    return _not_known(_listed(unread)) if unread else _met(fine)


def base_pinned(given: Given) -> Answer:
    """Base image pinned by digest."""
    return _by_builds(given, "BLD-001", "every image that a Dockerfile begins with has a digest")


def epoch_set(given: Given) -> Answer:
    """SOURCE_DATE_EPOCH in the Dockerfile."""
    return _by_builds(given, "BLD-010", "the last stage declares SOURCE_DATE_EPOCH")


def _unread(given: Given) -> Answer | None:
    """Why nothing can be said of manifests: none was given, or one could not be read."""
    if not given.written:
        return _not_known("no manifest or compose file was given, and none was measured")
    unread = [
        f"{item.name}: {item.audit.compose_problem}"
        for item in given.written
        if item.audit.compose_problem
    ]
    return _not_known(_listed(unread)) if unread else None


def images_pinned(given: Given) -> Answer:
    """Deploy compose uses image digests."""
    loose = [
        f"{item.name}: {service.name}"
        for item in given.written
        for service in item.manifest.services
        if image_of(item.manifest, service).kind is not Kind.DIGEST
    ]
    found = [
        f"{item.name}: {finding.service or finding.rule}"
        for item in given.written
        for finding in item.audit.findings
        if finding.rule.startswith("IMG-") and _counts(finding)
    ]
    if loose or found:
        return _not_met(f"without a digest of their own: {_listed((*loose, *found))}")
    return _unread(given) or _met("every service names its image by digest")


def _counts(finding: Finding) -> bool:
    return Severity(finding.severity).rank <= Severity.MEDIUM.rank


def no_urls_allowed(given: Given) -> Answer:
    """No user-data URLs in allowed_envs."""
    allowed = [
        f"{item.name}: {name}" for item in given.written for name in sorted(_urls(item.manifest))
    ]
    if allowed:
        return _not_met(f"the operator sets {_listed(allowed)}")
    unread = _unread(given)
    if unread is not None:
        return unread
    unknown = [item.name for item in given.written if item.manifest.allowed is None]
    if unknown:
        return _not_known(f"{_listed(unknown)}: a compose file alone has no allowed_envs")
    return _met("no allowed variable has the name of a URL or host")


def _urls(manifest: Manifest) -> set[str]:
    """The names in allowed_envs that are those of URLs, or that give a variable so named its
    value."""
    read = {item.name for item in live_inputs(manifest, env_classes.URL)}
    allowed = manifest.allowed or frozenset[str]()
    return {
        name for name in allowed if env_classes.classify(name) == env_classes.URL or name in read
    }


def on_chain_kms(given: Given) -> Answer:
    """KMS set to Base."""
    off = [item.name for item in given.written if _without_kms(item.manifest)]
    if off:
        return _not_met(f"{_listed(off)}: kms_enabled is false, so that no KMS has a public log")
    if given.report is None:
        return _not_known("which KMS gives the keys is decided where the app is deployed")
    status = given.status("authorization.contract")
    kms = given.claim("kms")
    if isinstance(kms, dict) and kms.get("contract") and status in {Status.PASS, Status.WARN}:
        return _met(f"its KMS is governed by the contract {kms['contract']}")
    if isinstance(kms, dict) and not kms.get("contract"):
        return _not_met("its KMS is a hosted one: nothing on a chain shows upgrades")
    return _not_known("which KMS gave the keys was not shown")


def _without_kms(manifest: Manifest) -> bool:
    app = manifest.app
    return app is not None and app.document.get("kms_enabled") is False


def gateway_matches(given: Given) -> Answer:
    """GATEWAY_DOMAIN matches the actual cluster."""
    entries = [
        (f"{item.name}: {service.name}", env.literal)
        for item in given.written
        for service in item.manifest.services
        for env in service.environment.values()
        if env.key in {"GATEWAY_DOMAIN", "DSTACK_GATEWAY_DOMAIN"}
    ]
    unread = _unread(given)
    if unread is not None:
        return unread
    if not entries:
        return _not_known("no service names a gateway's domain, so that there is none to compare")
    actual = set(_gateways(given))
    if not actual:
        return _not_known("which gateway serves the app was not observed: name the running app")
    wrong = [
        f"{where} says {value or 'a variable'}"
        for where, value in entries
        if value is None or not any(value.removeprefix("_.") == name for name in actual)
    ]
    if wrong:
        return _not_met(f"{_listed(wrong)}; it is served by {_listed(sorted(actual))}")
    return _met(f"it is served by {_listed(sorted(actual))}")


def _gateways(given: Given) -> Iterator[str]:
    """The domains of gateways that answered for the app."""
    if given.report is None or not given.report.bundle_trusted:
        return
    for source in given.report.sources:
        host = source.source.partition("://")[2].partition("/")[0].partition(":")[0]
        label, _, domain = host.partition(".")
        if label.endswith(("-8090", "-8090s")) and domain and not source.error:
            yield domain


def staging_access(given: Given) -> Answer:
    """Staging: development image and SSH key at creation."""
    image = given.claim("os_image")
    kind = image.get("kind") if isinstance(image, dict) else None
    if kind == "production":
        return _met("it is no staging app: its measured OS image is a production one")
    if kind == "development":
        return _not_known("its OS image is a development one; how its key came is not shown")
    return _not_known("how a staging app is created is not seen from outside")


def images_published(given: Given) -> Answer:
    """Images are built, pushed, and have a digest."""
    result = given.result("provenance.images")
    ties = [item.get("tie") for item in _rows(result)]
    if result is None or not ties:
        return _not_known("no registry was asked: name the running app")
    bad = [
        str(item.get("service"))
        for item in _rows(result)
        if item.get("tie") in {"missing", "private", "contradicted", "unpinned"}
    ]
    if bad:
        return _not_met(f"not published by digest, or shown to nobody: {_listed(bad)}")
    seen = {"untied", "asserted", "attested"}
    if all(tie in seen for tie in ties):
        return _met("each image was obtained from its registry, and hashes to its digest")
    return _not_known(f"provenance.images: {result.summary}")


def _rows(result: CheckResult | None) -> list[dict[str, JsonValue]]:
    rows = result.actual if result is not None and isinstance(result.actual, list) else []
    return [row for row in rows if isinstance(row, dict)]


def deployed_compose(given: Given) -> Answer:
    """The deploy compose file holds the new digests: it is the one that runs."""
    own = {item.manifest.compose_text: item.name for item in given.written if not item.measured}
    running = {item.manifest.compose_text for item in given.measured}
    if not own or not running:
        return _not_known("give the compose file or manifest, and the running app")
    other = [name for text, name in own.items() if text not in running]
    if other:
        return _not_met(f"{_listed(other)} is not the compose file that was measured")
    return _met("the compose file that was measured is the one that was given")


def deployed(given: Given) -> Answer:
    """It is deployed."""
    status = given.status("application.manifest")
    if status is Status.PASS:
        return _met("a guest measured its manifest")
    return _not_known("no guest was shown to have measured its manifest")


def attestation(given: Given) -> Answer:
    """The attestation is verified."""
    results = [item for check in _PROVEN if (item := given.result(check)) is not None]
    failed = [f"{item.id}: {item.summary}" for item in results if item.status is Status.FAIL]
    if failed:
        return _not_met(_listed(failed))
    if len(results) == len(_PROVEN) and all(item.status is Status.PASS for item in results):
        return _met(f"{', '.join(_PROVEN)} pass")
    return _not_known("name the running app, and see what `verify TARGET` says of it")


def expected_hash(given: Given) -> Answer:
    """The compose hash is the expected one."""
    own = {
        item.audit.sha256
        for item in given.written
        if item.manifest.app is not None and not item.measured
    }
    expected = own | set(given.expected)
    running = {item.audit.sha256 for item in given.measured}
    if not expected or not running:
        return _not_known("give the manifest or --expect-compose-hash, and the running app")
    if running <= expected:
        return _met("the measured compose hash is the expected one")
    return _not_met(f"measured: {_listed(sorted(running - expected))}")


def _outside(reason: str) -> Callable[[Given], Answer]:
    """A point that nothing here looks at."""
    return lambda _: _not_known(reason)


_BEFORE, _DURING, _AFTER = "Before deploying", "Deploying", "After deploying"
POINTS: Final = (
    Point(_BEFORE, "Base image pinned by digest in Dockerfile", base_pinned),
    Point(_BEFORE, "Deploy compose uses image digest (not tag)", images_pinned),
    Point(_BEFORE, "No user-data URLs in allowed_envs", no_urls_allowed),
    Point(_BEFORE, "KMS set to Base (not the hosted default)", on_chain_kms),
    Point(_BEFORE, "GATEWAY_DOMAIN matches actual cluster", gateway_matches),
    Point(_BEFORE, "Staging: --dev-os and --ssh-pubkey at creation time", staging_access),
    Point(_BEFORE, "SOURCE_DATE_EPOCH in Dockerfile", epoch_set),
    Point(_DURING, "Images built, pushed, and named by digest", images_published),
    Point(_DURING, "Digest updated in the deploy compose file", deployed_compose),
    Point(_DURING, "Deployed", deployed),
    Point(_DURING, "App responds", _outside("the app itself is not asked")),
    Point(_DURING, "Attestation verified", attestation),
    Point(_AFTER, "Logs checked over SSH", _outside("only its operator can look into the guest")),
    Point(_AFTER, "Compose hash matches expected", expected_hash),
    Point(_AFTER, "Custom domain: CNAME and TXT records", _outside("look at both records")),
    Point(_AFTER, "Tested from client or frontend", _outside("only its users can tell")),
)
