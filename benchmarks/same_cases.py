"""The cases of `same_results.py`: what is asked of the package under test.

Simulated worlds come from the lab of that package: its attacks, their honest twins, and `WORLDS`.
Recorded evidence and deployed manifests lie in `../shared`, and are no part of the project; without
them, their cases are left out.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache, partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from same_package import (  # type: ignore[import-not-found] # beside this script
    Results,
    entry,
    kept,
    of_lines,
    of_report,
    run,
    verify,
)

ROOT: Final = Path(__file__).parents[1]
EVIDENCE: Final = ROOT.parent / "shared" / "evidence"
DEPLOYED: Final = ROOT.parent / "shared" / "corpus" / "deployed"
POLICIES: Final = ("baseline", "genuine", "strict")
DAY: Final = 86400

WORLDS: Final[dict[str, dict[str, Any]]] = {
    **{
        f"version {version}": {"version": version}
        for version in (
            *("0.3.1", "0.3.3", "0.4.2", "0.5.0", "0.5.1", "0.5.3", "0.5.4"),
            *("0.5.5", "0.5.6", "0.5.8", "0.5.9", "0.5.11", "0.6.0"),
        )
    },
    "log version 2": {"version": "0.6.0", "event_log_version": 2},
    "certificate scale-v0": {"cert_attestation": "scale-v0"},
    "certificate msgpack-v1": {"cert_attestation": "msgpack-v1", "version": "0.6.0"},
    **{f"quote {name}": {"quote_format": name} for name in ("v5-td10", "v5-td15")},
    **{f"MRCONFIGID {name}": {"mr_config_id": name} for name in ("v2", "unset")},
    **{f"keys from {name}": {"key_provider": name} for name in ("none", "local-sgx", "tpm")},
    **{f"KMS {name}": {"kms": name} for name in ("hosted", "attacker")},
    **{f"governed by a {name}": {"governance": name} for name in ("safe", "key")},
    **{f"OS image {name}": {"os_image": name} for name in ("development", "self-built")},
    **{f"collateral of {days} days": {"collateral_age": days * DAY} for days in (10, 20, 40)},
    **{
        f"{level} {status}": {level: status}
        for level in ("tcb_status", "module_status", "qe_status")
        for status in ("OutOfDate", "ConfigurationNeeded", "SWHardeningNeeded", "Revoked")
    },
    **{
        f"{name} {state}": {name: state}
        for name in ("compose_hash_on_chain", "device_on_chain", "os_image_on_chain")
        for state in ("removed", "never")
    },
    "advisories": {"advisories": ("INTEL-SA-00001",)},
    "no instance id": {"no_instance_id": True},
    "manifest hidden": {"public_tcbinfo": False},
    "everything public": {"public_logs": True, "public_sysinfo": True},
    "any device": {"allow_any_device": True},
    "upgrades disabled": {"upgrades_disabled": True},
    "older device id": {"device_binding": "user-data"},
    "narrow ranges": {"log_range": 1_000_000},
    "no CA key on chain": {"ca_pubkey": b""},
    "another seed": {"seed": "other"},
}
"""Worlds by what their knobs turn, honest ones and doubtful ones."""

APP_IDS: Final = {
    "8090-page": "db82f581256a3c9244c4d7129a67336990d08cdf",
    "attestation": "86b0e55f2fa8e4fb69d890f14f54d5612707646e",
    "getquote": "3763bc34552cf3a27ff71ad5f7a90471562a1a2d",
    "simulator": "5bb4ff9a3837357f19dc176407a5709c62eb6c56",
}
"""The apps of recorded files that do not name theirs, by folder."""

Case = Callable[[Path], Results]
"""The results of one case, by what was run; it may write into the empty folder that it gets."""


@cache
def cases() -> dict[str, Case]:
    """Every case by its name."""
    found: dict[str, Case] = {}
    for name, asked in worlds():
        found.setdefault(name, partial(of_world, asked))
    found |= {"demo": of_demo, "fixture": of_fixture}
    if not EVIDENCE.is_dir():
        return found
    for item in recorded():
        found[f"recorded {_short(item.files)} at {item.at}"] = partial(of_recorded, item)
    found |= {f"manifest {path.name}": partial(of_manifest, path) for path in manifests()}
    for old, new in pairwise(manifests()):
        found[f"diff {old.name} {new.name}"] = partial(of_pair, old, new)
    signed = EVIDENCE / "kms" / "signature_chain.json"
    return found | {"signer": lambda _: {"signer": of_lines("signer", signed)}}


# ---- Simulated worlds


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A simulated world and how it is asked about, in the words of the lab's `Attack`.

    `instances` are asked about one by one too; `kms` says whether the KMS's contract is named, and
    `whole` whether everything is asked that can be.
    """

    knobs: Any
    challenge: bytes = b""
    denied: Any = None
    reference: Any = None
    handed_over: Any = None
    edit_artifact: Any = None
    expected_images: tuple[str, ...] = ()
    governance: str = ""
    instances: tuple[int, ...] = ()
    kms: bool = False
    whole: bool = False


def worlds() -> Iterator[tuple[str, Asked]]:
    """Every simulated world by name; a twin that several attacks have comes several times."""
    attacks = import_module("verifier.lab.attacks").ATTACKS
    knobs = import_module("verifier.lab.knobs").Knobs
    fault = import_module("verifier.lab.rpc").RpcFault
    common = [field.name for field in fields(Asked)]
    for attack in attacks:
        own = {name: getattr(attack, name) for name in common if hasattr(attack, name)}
        yield f"attack {attack.name}", Asked(**own)
    for attack in attacks:
        own = {name: getattr(attack, f"twin_{name}", None) for name in common}
        own |= {"knobs": attack.twin, "governance": attack.governance}
        twin = Asked(**{name: value for name, value in own.items() if value is not None})
        yield f"twin {_described(twin)}", twin
    yield from (
        (f"world {name}", Asked(knobs=knobs(**turned), whole=True))
        for name, turned in WORLDS.items()
    )
    for operators in ("a", "ab"):
        for which in (fault.NO_ARCHIVE, fault.NO_TRANSACTIONS, fault.ERROR):
            faults = dict.fromkeys(operators, which)
            yield f"world {which.value} at {operators}", Asked(knobs=knobs(rpc_faults=faults))
    challenge = bytes(range(64))
    for provider in ("kms", "none"):
        answering = knobs(app_key_report_data=challenge, key_provider=provider)
        asked = Asked(knobs=answering, challenge=challenge, whole=True)
        yield f"world challenged, keys {provider}", asked
    yield "world of two instances", Asked(knobs=knobs(others=(knobs(),)), instances=(0, 1))
    silent = knobs(edit_response=_silent)
    yield "world without a guest", Asked(knobs=silent)
    yield "world without a guest, KMS named", Asked(knobs=silent, kms=True)


def _defaults(value: Any) -> dict[str, Any]:  # noqa: ANN401 - a record or a plain value
    """The fields of a record with their defaults; in older commits, records are dataclasses."""
    if hasattr(value, "__struct_fields__"):
        names, given = value.__struct_fields__, value.__struct_defaults__
        return dict(zip(names, (None,) * (len(names) - len(given)) + given, strict=True))
    if hasattr(value, "__dataclass_fields__"):
        return {item.name: item.default for item in fields(value)}
    return {}


def _described(value: Any) -> str:  # noqa: ANN401 - knobs, hooks and plain values
    """A value by what differs from its defaults, functions by their names."""
    if callable(value) and hasattr(value, "__qualname__"):
        return str(value.__qualname__).replace(".<locals>", "")
    if defaults := _defaults(value):
        turned = {
            name: getattr(value, name)
            for name, default in defaults.items()
            if getattr(value, name) not in (default, {}, ())
        }
        return ", ".join(f"{name}={_described(item)}" for name, item in turned.items()) or "honest"
    if isinstance(value, tuple):
        return f"({'; '.join(map(_described, value))})"
    return str(value)


def _silent(_method: str, url: str, _body: bytes, response: Any) -> Any:  # noqa: ANN401 - the lab's
    """No guest answers."""
    return import_module("verifier.lab.response").NOT_FOUND if "-8090." in url else response


def of_world(asked: Asked, folder: Path) -> Results:
    """Every result about a simulated world."""
    world, options, trust = _collected(asked, folder)
    bundle = folder / "bundle.tar"
    audit: list[object] = [world.app_id, "--bundle", bundle, "--offline", *options]
    if asked.challenge:
        audit += ["--challenge", asked.challenge.hex()]
    for image in asked.expected_images:
        audit += ["--expect-image", image]
    trusted = POLICIES if asked.whole else ("baseline", "strict")
    found = {name: run(of_report, *audit, *trust, "--policy", name) for name in trusted}
    found["genuine, nobody vouches"] = run(of_report, *audit, "--policy", "genuine")
    if asked.governance:
        policy = folder / "policy.toml"
        policy.write_text(f'extends = "baseline"\n[governance]\n{asked.governance}\n')
        found["governance demanded"] = run(of_report, *audit, *trust, "--policy", policy)
    for number in asked.instances:
        instance = ("--instance", world.instance_ids[number])
        found[f"instance {number}"] = run(of_report, *audit, *trust, *instance)
    if asked.whole:
        found["nobody vouches"] = run(of_report, *audit)
        found["stage"] = run(kept, "stage", bundle, *options, *trust)
    return found | {"timeline": run(kept, "timeline", bundle, *options, *trust)}


def _collected(asked: Asked, folder: Path) -> tuple[Any, list[object], tuple[object, ...]]:
    """The world, whose bundle and reference values are written into the folder; the options that
    every command about it takes, and those that vouch for the bundle."""
    home = import_module("verifier.lab.world")
    world = home.build(asked.knobs)
    document = json.loads(world.reference())
    if asked.denied is not None:
        document["denied"] = [asked.denied(world)]
    if asked.reference is not None:
        document = asked.reference(document)
    row = next(row for row in document["kms"] if row["contract"])
    raw = json.dumps(document).encode()
    reference = entry("parse_reference")(raw, unsafe="SIMULATED")
    question = entry("Question")(
        app_id=world.app_id,
        reference=reference,
        at=world.now,
        trusted=True,
        challenge=asked.challenge,
        kms=next(row for row in reference.kms if row.contract) if asked.kms else None,
    )
    guests = tuple(f"https://{label}-8090.{home.GATEWAY_BASE}" for label in world.instance_ids)
    sources = entry("Sources")(
        guests=guests if asked.knobs.others else (), responder=world.respond, cloud=False
    )
    bundle = entry("collect_evidence")(question, sources, lambda: world.now)
    bundle = _edited(_handed_over(bundle, asked, world), asked)
    entry("save")(bundle, folder / "bundle.tar")
    (folder / "reference.json").write_bytes(raw)
    at = datetime.fromtimestamp(world.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    options: list[object] = ["--at", at, "--unsafe-root", folder / "reference.json"]
    if asked.kms:
        options += ["--kms", f"{row['chain_id']}:{row['contract']}"]
    return world, options, ("--trust-bundle", bundle.digest)


def _handed_over(bundle: Any, asked: Asked, world: Any) -> Any:  # noqa: ANN401 - of the package
    """The bundle, and what the attacker adds to it about its first attester."""
    builder = entry("BundleBuilder")(bundle)
    for kind, raw in asked.handed_over(world) if asked.handed_over is not None else ():
        subject = bundle.subjects[0]
        builder.add(kind, raw, source="handed over", collected_at=world.now, subject=subject)
    return builder.build()


def _edited(bundle: Any, asked: Asked) -> Any:  # noqa: ANN401 - of the package
    """The bundle, with what the attacker changes in it."""
    if asked.edit_artifact is None:
        return bundle
    builder = entry("BundleBuilder")()
    for item in bundle.artifacts:
        same = ("source", "collected_at", "subject", "request", "status")
        told = {name: getattr(item, name) for name in same}
        if item.sha256 is None:
            builder.add_failure(item.kind, error=item.error, **told)
            continue
        told |= {"media_type": item.media_type, "headers": dict(item.headers)}
        builder.add(item.kind, asked.edit_artifact(item, bundle.blob(item)), **told)
    return builder.build()


def of_demo(folder: Path) -> Results:
    """The demo, and the history of its app, that nobody vouches for."""
    saved = folder / "demo"
    found = {"demo": run(of_report, "demo", "--save", saved)}
    options = ("--unsafe-root", saved / "reference.json", "--at", "2026-06-15T12:00:00Z")
    return found | {"timeline": run(kept, "timeline", saved / "bundle", *options)}


def fixture() -> tuple[object, ...]:
    """The arguments that name the bundle of fixtures/, what it is judged by, and that vouch."""
    digest = json.loads((ROOT / "reports" / "demo.json").read_text())["bundle_digest"]
    reference = ROOT / "fixtures" / "demo-reference.json"
    options = ("--unsafe-root", reference, "--at", "2026-06-15T12:00:00Z")
    return (ROOT / "fixtures" / "demo-bundle.tar", *options, "--trust-bundle", digest)


def of_fixture(folder: Path) -> Results:
    """The bundle of fixtures/, which an earlier version may have written."""
    del folder
    app_id = json.loads((ROOT / "reports" / "demo.json").read_text())["target"]
    audit = (app_id, "--bundle", *fixture())
    found = {name: run(of_report, *audit, "--policy", name) for name in POLICIES}
    return found | {name: run(kept, name, *fixture()) for name in ("timeline", "stage")}


# ---- Recorded evidence and deployed manifests


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Files of recorded evidence that are judged together, as of a time (RFC 3339)."""

    files: tuple[str, ...]
    at: str
    app_id: str = ""


def recorded() -> Iterator[Recorded]:
    """Every recorded set: quotes with every collateral that was recorded, at its time."""
    collateral = _files("collateral/tdx_*.json")
    for path in _files("info/*", "kms/*", "getquote/*", "attestation/*", "simulator/*.bin"):
        for endorsements in collateral:
            issued = endorsements.split("_")[-2]
            at = {"2026-08-20": "2026-08-21"}.get(issued, f"{issued}T23:00:00Z")
            yield Recorded(files=(path, endorsements), at=at, app_id=_app_id(path))
    for folder in sorted((EVIDENCE / "near-mpc").iterdir()):
        files = tuple(_files(f"near-mpc/{folder.name}/*"))
        app_id = json.loads((folder / "tcb_info.json").read_text())["compose_hash"][:40]
        for at in ("2025-11-19", "2026-02-18", "2026-03-23T21:17:00Z"):
            yield Recorded(files=files, at=at, app_id=app_id)
    for name in ("tdx_quote", "tdx_quote_outdated"):
        for at in ("2025-06-20", "2026-02-20", "2026-03-18"):
            yield Recorded(files=(f"dcap-qvl/{name}", f"dcap-qvl/{name}_collateral.json"), at=at)
    yield Recorded(files=tuple(_files("v03-app/*")), at="2025-09-01")
    simulator = tuple(_files("simulator/attestation.bin", "simulator/app-compose.json"))
    yield Recorded(files=(*simulator, collateral[-1]), at="2026-06-10T23:00:00Z")
    one, other = _files("info/info_dstack-nvidia-*.json")
    ours = [path for path in collateral if "90C06F" in path]
    yield Recorded(files=(one, other, ours[1]), at="2026-06-15", app_id=_app_id(one))
    for path in (one, other):
        yield Recorded(files=(path, *ours[:2]), at="2026-06-15", app_id=_app_id(path))
    for path in _files("8090-page/*", "gpu/*", "platforms/*", "sigstore/*"):
        yield Recorded(files=(path,), at="2026-05-01", app_id=_app_id(path))


def manifests() -> list[Path]:
    """Every recorded document that is or shows a manifest."""
    shown = [EVIDENCE / name for name in _files("info/*", "kms/*", "8090-page/*", "simulator/*")]
    near = sorted((EVIDENCE / "near-mpc").glob("*/app_compose.json"))
    return [*sorted(DEPLOYED.iterdir()), *near, *shown]


def _short(files: tuple[str, ...]) -> str:
    """What files of the recorded evidence are called together: their folder, if it is all of it."""
    folder = files[0].rpartition("/")[0]
    return folder if set(files) == set(_files(f"{folder}/*")) else " + ".join(files)


def _files(*patterns: str) -> list[str]:
    """The files of the recorded evidence that match, by their paths below it."""
    found = [path for pattern in patterns for path in EVIDENCE.glob(pattern) if path.is_file()]
    return sorted(path.relative_to(EVIDENCE).as_posix() for path in found)


def _app_id(path: str) -> str:
    """The app that a recorded file is about: the one that it names, or that is known to be."""
    found = re.search(rb'"app_id":\s*"([0-9a-f]{40})"', (EVIDENCE / path).read_bytes())
    return found[1].decode() if found else APP_IDS.get(path.partition("/")[0], "")


def of_recorded(asked: Recorded, folder: Path) -> Results:
    """What recorded files give, imported at the time at which they are judged."""
    files = [EVIDENCE / name for name in asked.files]
    bundle = folder / "bundle"
    code, out = verify("import", *files, "-o", bundle)
    kinds = sorted(re.findall(r"^([a-z0-9-]+) +\d+ bytes", out, re.MULTILINE))
    found: Results = {"import": {"exit": code, "kinds": kinds}}
    if code == 0:
        _date(bundle / "manifest.json", asked.at)
        target = (asked.app_id, "--bundle", bundle) if asked.app_id else (bundle,)
        options = ("--offline", "--at", asked.at, "--policy")
        found |= {name: run(of_report, *target, *options, name) for name in POLICIES}
    return found | {name: of_lines(name, *files, "--at", asked.at) for name in ("quote", "events")}


def _date(manifest: Path, at: str) -> None:
    """Date a bundle's artifacts: `verify import` writes that they came in now."""
    document = json.loads(manifest.read_bytes())
    moment = datetime.fromisoformat(at)
    for item in document["artifacts"]:
        item["collected_at"] = int(moment.replace(tzinfo=UTC).timestamp())
    manifest.write_bytes(import_module("rfc8785").dumps(document))


def of_manifest(path: Path, folder: Path) -> Results:
    """What a manifest, or a document that shows one, gives alone."""
    del folder
    code, out = verify("compose-hash", path)
    hashes = sorted(set(re.findall(r"\b[0-9a-f]{64}\b", out)))
    return {"lint": run(kept, "lint", path), "compose-hash": {"exit": code, "hashes": hashes}}


def of_pair(old: Path, new: Path, folder: Path) -> Results:
    """What comparing two manifests gives."""
    del folder
    return {"diff": run(kept, "diff", old, new)}
