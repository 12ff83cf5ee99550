"""PLS: the scripts that run as root in the guest, outside of every container."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from verifier.manifest.image import DIGEST, image_of
from verifier.manifest.model import RESTARTS, Manifest
from verifier.manifest.rule import Hit, Need, Rule, listed, rule
from verifier.manifest.rules.leaks import at_hand, leaks, may_show
from verifier.manifest.rules.shell import PIPE_TO_SHELL, excerpt, unpinned_installs
from verifier.manifest.shell.follow import Line
from verifier.model.result import Location, Severity
from verifier.patterns import pattern
from verifier.reference.prelaunch_scripts import (
    BANNER,
    LAUNCH_TOKEN,
    newest_version,
    recognise_script,
    version_key,
)

_NEEDS: Final = (Need.MANIFEST,)
_SSH: Final = pattern(
    r"chpasswd|\bpasswd\s|authorized_keys|PermitRootLogin|useradd|usermod|sudoers|dropbear|\bsshd\b"
    r"|\bttyd\b|webshell|openssh-installer"
)
_SHELL_SERVER: Final = pattern(r"dropbear|\bsshd\b|\bttyd\b|webshell|openssh-installer")
_DOCKER_RUN: Final = pattern(r"docker\s+run\b(?:[^\n;&|]|\\\n)*", re.MULTILINE)
_TRACE: Final = pattern(
    r"^[ \t]*set\s+-\w*x|(?<![\w.-])(?:ba|da|z|k)?sh\s+-\w*x\w*\b"
    r"|^[ \t]*(?:env|printenv|set|export|(?:declare|typeset|export)[ \t]+-[pxA-Z]+)[ \t]*$",
    re.MULTILINE,
)
_EXPORT_KEY: Final = pattern(
    r"export\s+\w+=[^\n]{0,100}\$\([^\n]{0,300}appkeys\.json|cp\s[^\n]{0,300}appkeys\.json"
)
_EVAL: Final = pattern(
    r"(?:^|[;&|]\s*)eval\s|(?:^|[;&|]\s*)(?:source|\.)\s+\S{0,80}(?:user_config|user-config|sys-config"
    r"|\.env)\b|user_config[^\n|]{0,300}\|\s*(?:ba)?sh\b|>\s*\S{0,80}\.env\b",
    re.MULTILINE,
)
_REWRITES: Final = pattern(
    r">\s*/etc/docker/daemon\.json|>\s*\S{0,80}docker-compose\.ya?ml|>>?\s*/etc/hosts|\biptables\s|\bnft\s"
    r"|>\s*/etc/resolv\.conf|/etc/systemd/system/|\bsysctl\s+-w|\bmodprobe\s|update-ca-certificates"
    r"|insecure-registries"
)
_TRUST_CHANGE: Final = pattern(r"insecure-registries|update-ca-certificates")
_CREDENTIAL: Final = pattern(
    r"docker\s+login\b[^\n]{0,300}-p\s+[\"']?(?!\$)[^\s\"']+|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|^[ \t]*(?:export\s+)?\w{0,100}(?:PASSWORD|SECRET|TOKEN)=[\"']?[^\s\"'$`]{6,}",
    re.MULTILINE,
)
_PULL: Final = pattern(r"\bdocker(?:\s+|-)compose\b[^\n]{0,200}\bpull\b")
_MAX_LOST: Final = 10
_MAX_RUNS: Final = 50
_GATE: Final = pattern(r"exit\s+[1-9]|\breboot\b|\bpoweroff\b")


def custom_scripts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """The scripts that are not Phala's own, with their pointers."""
    for pointer, script in manifest.scripts.items():
        known = recognise_script(script)
        if known is None or not known.phala:
            yield pointer, script


def _hit(manifest: Manifest, pointer: str, message: str, severity: Severity | None = None) -> Hit:
    place = manifest.place_of(pointer.split("/")[1])
    place = Location(pointer=pointer, line=place.line, column=place.column)
    return Hit(message=message, place=place, severity=severity)


def _known_to(manifest: Manifest, rule_id: str) -> dict[str, Hit]:
    """Scripts that are known by their hash to break a rule, by pointer: however one is written, its
    text decides nothing."""
    found: dict[str, Hit] = {}
    for pointer, script in manifest.scripts.items():
        known = recognise_script(script)
        if known is not None and known.rule == rule_id:
            message = f"the known script {known.name} (sha256 {known.sha256}) {known.does}"
            found[pointer] = _hit(manifest, pointer, message)
    return found


def _matches(manifest: Manifest, pattern: re.Pattern[str], said: str) -> Iterator[Hit]:
    """One hit for each custom script that a pattern is in, with the first line that matches."""
    for pointer, script in custom_scripts(manifest):
        where = _found(manifest, pointer, script, pattern)
        if where:
            yield _hit(manifest, pointer, f"{where} {said}")


def _found(manifest: Manifest, pointer: str, script: str, pattern: re.Pattern[str]) -> str:
    """Where a pattern is in a script as it is written, else in what it runs; "" for nowhere."""
    match = pattern.search(script)
    if match:
        return _line(script, match.start())
    runs = (line for line in manifest.followed(pointer).lines if pattern.search(line.text))
    line = next(runs, None)
    return "" if line is None else _run(line)


def _run(line: Line) -> str:
    return f"line {line.number}, which runs `{excerpt(line.text)}`,"


def _line(script: str, position: int) -> str:
    start = script.rfind("\n", 0, position + 1) + 1
    end = script.find("\n", position + 1)
    number = script.count("\n", 0, start) + 1
    return f"line {number}, `{excerpt(script[start : end if end > 0 else None])}`,"


@rule(
    "PLS-001",
    Severity.INFO,
    "Pre-launch script is a known one of Phala's",
    why="Phala's API injects it, not the author; its hash says exactly what it does.",
    fix="Pin its hash in CI, and look at the difference when it changes.",
    source="history of Dstack-TEE/dstack-examples phala-cloud-prebuilt/prelaunch.sh",
    needs=_NEEDS,
)
def known_script(manifest: Manifest) -> Iterator[Hit]:
    """The sha256 of the whole script is in the table, in any form in which Phala's tools write it.
    The banner alone is no evidence."""
    known = manifest.known_script
    if known is not None and known.phala:
        does = "; ".join(known.behaviours().values())
        message = f"Phala's script {known.name} ({known.variant}, sha256 {known.sha256}): {does}"
        yield _hit(manifest, "/pre_launch_script", message)


@rule(
    "PLS-002",
    Severity.MEDIUM,
    "Script bears Phala's banner and is not Phala's",
    why="Edited, or newer than this tool.",
    fix="Compare it with the script of that version in dstack-examples.",
    source="history of Dstack-TEE/dstack-examples phala-cloud-prebuilt/prelaunch.sh",
    needs=_NEEDS,
)
def false_banner(manifest: Manifest) -> Iterator[Hit]:
    """The banner is there and the hash is not known. High when it claims a version that is known:
    its text was changed."""
    for pointer, script in custom_scripts(manifest):
        banner = BANNER.search(script)
        if banner:
            newer = version_key(banner[1]) > version_key(newest_version())
            message = f"claims to be {banner[1]}, and has another hash"
            yield _hit(manifest, pointer, message, Severity.MEDIUM if newer else Severity.HIGH)


@rule(
    "PLS-003",
    Severity.HIGH,
    "Custom script runs as root in the guest",
    why="Measured, but outside of every container: somebody has to read it.",
    fix="Make it as small as possible; move the work into an image.",
    source="dstack os/common/rootfs/app-compose.sh; public report #551",
    needs=_NEEDS,
)
def custom_script(manifest: Manifest) -> Iterator[Hit]:
    """A script without Phala's hash or banner. As severe as what the other rules find in it, and
    at least medium; the launch-token script of the VMM's own page is info."""
    found = [hit for item in _JUDGING for hit in _judged(item, manifest)]
    for pointer, script in custom_scripts(manifest):
        known = recognise_script(script)
        if BANNER.search(script):
            continue
        if known is not None and known.name == LAUNCH_TOKEN:
            yield _hit(manifest, pointer, "the launch-token check of dstack's VMM", Severity.INFO)
            continue
        severities = [severity for at, severity in found if at == pointer]
        worst = min((*severities, Severity.MEDIUM), key=lambda severity: severity.rank)
        name = f" ({known.name})" if known else ""
        yield _hit(manifest, pointer, f"{len(script)} characters of shell{name}", worst)


def _judged(judge: Rule, manifest: Manifest) -> Iterator[tuple[str, Severity]]:
    for hit in judge.hits(manifest):
        yield hit.place.pointer, hit.severity or judge.severity


@rule(
    "PLS-004",
    Severity.HIGH,
    "Script grants root by values that are not measured",
    why="Whoever writes them, operator or host, opens a shell where an SSH server runs.",
    fix="Deploy without the script, on a production image.",
    source="Phala pre-launch script v0.0.4, v0.0.8 and v0.0.11; case study of redpill",
    needs=_NEEDS,
)
def root_by_script(manifest: Manifest) -> Iterator[Hit]:
    """Phala's script sets a root password or SSH keys from variables, and from v0.0.11 on from the
    host's user_config; a custom script touches passwords, keys or SSH. Critical on a development
    image or with a shell server, info on an image that is known to have none."""
    kind = manifest.context.os_kind
    by_os = {"development": Severity.CRITICAL, "production": Severity.INFO}.get(kind)
    known = manifest.known_script
    if known is not None and known.phala:
        ways = known.behaviours()
        names = ("root-password", "authorized-keys", "host-keys")
        granted = [ways[name] for name in names if name in ways]
        if granted:
            place = _hit(manifest, "/pre_launch_script", "").place
            message = "; ".join(granted)
            yield Hit(message=message, place=place, severity=by_os, conditional=not kind)
    for pointer, script in custom_scripts(manifest):
        where = _found(manifest, pointer, script, _SSH)
        if where:
            served = _found(manifest, pointer, script, _SHELL_SERVER)
            severity = Severity.CRITICAL if served else by_os
            yield _hit(manifest, pointer, f"{where} opens a way to a root shell", severity)


@rule(
    "PLS-005",
    Severity.CRITICAL,
    "Script fetches code and runs it",
    why="As root, and not measured.",
    fix="Embed it, or check its sha256.",
    source="dstack docs/security/security-best-practices.md",
    needs=_NEEDS,
)
def fetched_code(manifest: Manifest) -> Iterator[Hit]:
    """A download into a shell, `docker run` of an image without digest, unpinned package installs
    and clones; or the script is known by its hash to do so. Phala's download of awscli, checked by
    MD5, is medium where ECR variables are allowed."""
    yield from _known_to(manifest, "PLS-005").values()
    for pointer, script in custom_scripts(manifest):
        told: set[str] = set()
        for text in (script, manifest.followed(pointer).text):
            for said, severity in _fetches(text):
                if said not in told:
                    told.add(said)
                    yield _hit(manifest, pointer, said, severity)
    known = manifest.known_script
    if known is not None and known.phala:
        names = sorted(n for n in manifest.allowed or () if n.startswith("DSTACK_AWS_"))
        if names:
            message = f"{listed(names)} make it download awscli, checked by MD5 alone"
            yield _hit(manifest, "/pre_launch_script", message, Severity.MEDIUM)


def _fetches(text: str) -> Iterator[tuple[str, Severity]]:
    """What a text gets from elsewhere and runs, and how bad that is."""
    for match in islice(_DOCKER_RUN.finditer(text), _MAX_RUNS):
        if not DIGEST.search(match[0]):
            yield f"`{excerpt(match[0])}` runs an image by tag", Severity.CRITICAL
    for found, severity, _ in unpinned_installs(text):
        worse = Severity.HIGH if severity is Severity.MEDIUM else severity
        piped = PIPE_TO_SHELL.search(found) is not None
        yield f"`{found}`", Severity.CRITICAL if piped else worse


@rule(
    "PLS-006",
    Severity.CRITICAL,
    "Script sends secrets out of the guest",
    why="The host reads the serial console, the journal on it, and the shared directory.",
    fix="Remove it.",
    source="dstack os/common/rootfs/app-compose.service (StandardOutput=journal+console)",
    needs=_NEEDS,
)
def leaked_secrets(manifest: Manifest) -> Iterator[Hit]:
    """The keys, the decrypted environment, volumes or secrets are read, and the script writes to
    the console (where its output goes by itself), the host's directory or the network: behind
    variables, functions, groups, here-documents or files too. Or it traces its commands and
    variables; or it is a script that is known by its hash to do so. High where it only does both,
    and everything that it runs is seen; and where a program is given them whose output, which goes
    to the console, nobody knows."""
    known = _known_to(manifest, "PLS-006")
    yield from known.values()
    for pointer, script in custom_scripts(manifest):
        if pointer in known:
            continue
        followed = manifest.followed(pointer)
        leak = next(filter(leaks, followed.lines), None)
        if leak is not None:
            yield _hit(manifest, pointer, f"{_run(leak)} where the host or the network sees it")
        elif (line := next(filter(may_show, followed.lines), None)) is not None:
            said = "with keys or secrets, and its output goes to the console"
            yield _hit(manifest, pointer, f"{_run(line)} {said}", Severity.HIGH)
        elif (line := at_hand(followed)) is not None:
            severity = None if followed.lost else Severity.HIGH
            yield _hit(manifest, pointer, f"{_run(line)} with keys or secrets at hand", severity)
        where = _found(manifest, pointer, script, _TRACE)
        if where:
            yield _hit(manifest, pointer, f"{where} writes variables out")


@rule(
    "PLS-007",
    Severity.HIGH,
    "Script hands the app's root key to containers",
    why="Everyone who can inspect the container, or reads its environment, has the key.",
    fix="Let the app ask for getKey(path).",
    source="near.ai manifests",
    needs=_NEEDS,
)
def handed_key(manifest: Manifest) -> Iterator[Hit]:
    """A variable is exported from .appkeys.json, or the file is copied; or the script is known by
    its hash to do so."""
    known = _known_to(manifest, "PLS-007")
    yield from known.values()
    for hit in _matches(manifest, _EXPORT_KEY, "takes the app's key"):
        if hit.place.pointer not in known:
            yield hit


@rule(
    "PLS-008",
    Severity.HIGH,
    "Script runs unmeasured text",
    why="The host or the operator writes what root then executes.",
    fix="Parse with `jq -r` and validate.",
    source="dstack docs/security/security-best-practices.md (user_config)",
    needs=_NEEDS,
)
def evaluated_text(manifest: Manifest) -> Iterator[Hit]:
    """`eval`, sourcing user_config, sys-config or an .env file, piping them into a shell, or
    writing an .env file from the environment."""
    yield from _matches(manifest, _EVAL, "makes code of values")


@rule(
    "PLS-009",
    Severity.MEDIUM,
    "Script is meant as a gate and runs too late",
    why="At a reboot dockerd restores the containers before the script runs.",
    fix="Use requirements, or init_script, which runs before dockerd.",
    source="dstack os/common/rootfs/app-compose.service (ordering)",
    needs=(Need.MANIFEST, Need.COMPOSE),
)
def late_gate(manifest: Manifest) -> Iterator[Hit]:
    """The pre-launch script can stop the boot, and a service has `restart: always` or
    `unless-stopped`."""
    script = manifest.scripts.get("/pre_launch_script", "")
    known = manifest.known_script
    if known is not None and known.phala:
        return
    restarted = [service.name for service in manifest.services if service.restart in RESTARTS]
    if restarted and _GATE.search(script):
        message = f"{listed(restarted)} are back before it"
        yield _hit(manifest, "/pre_launch_script", message)


@rule(
    "PLS-010",
    Severity.MEDIUM,
    "Script rewrites what Docker or the network trusts",
    why="It changes trust outside of the compose file.",
    fix="Avoid it.",
    source="dstack os/common/rootfs/app-compose.sh",
    needs=_NEEDS,
)
def rewritten_configuration(manifest: Manifest) -> Iterator[Hit]:
    """It writes Docker's configuration, the compose file, hosts, firewall, resolver, systemd units,
    kernel settings or the CA store. Insecure registries and CAs are high."""
    for pointer, script in custom_scripts(manifest):
        where = _found(manifest, pointer, script, _REWRITES)
        if where:
            trust = _found(manifest, pointer, script, _TRUST_CHANGE)
            yield _hit(manifest, pointer, f"{where} at boot", Severity.HIGH if trust else None)


@rule(
    "PLS-011",
    Severity.LOW,
    "Script contains a credential",
    why="The manifest is public.",
    fix="Pass it as a variable.",
    source="dstack guest-agent (port 8090)",
    needs=_NEEDS,
)
def script_credential(manifest: Manifest) -> Iterator[Hit]:
    """A password, token or private key stands in a script as a literal."""
    for pointer, script in custom_scripts(manifest):
        if match := _CREDENTIAL.search(script):
            line = script.count("\n", 0, match.start()) + 1
            yield _hit(manifest, pointer, f"line {line} has a literal credential")


@rule(
    "PLS-012",
    Severity.INFO,
    "init_script is there",
    why="It runs before dockerd and after the keys are there.",
    fix="Read it.",
    source="dstack dstack-util/src/system_setup.rs, docs/normalized-app-compose.md",
    needs=_NEEDS,
)
def init_script(manifest: Manifest) -> Iterator[Hit]:
    """Each item of init_script."""
    for pointer, script in manifest.scripts.items():
        if pointer.startswith("/init_script"):
            yield _hit(manifest, pointer, f"{len(script)} characters run before Docker")


@rule(
    "PLS-013",
    Severity.MEDIUM,
    "Every boot pulls images that are named by tag",
    why="A moved tag takes effect at the next boot.",
    fix="Name images by digest.",
    source="Phala pre-launch script v0.0.15",
    needs=(Need.MANIFEST, Need.COMPOSE),
)
def pull_at_boot(manifest: Manifest) -> Iterator[Hit]:
    """The script pulls at each boot (Phala's from v0.0.15 on), and an image can be replaced."""
    known = manifest.known_script
    own = any(_found(manifest, at, s, _PULL) for at, s in custom_scripts(manifest))
    pulls = own or (known is not None and "pull" in known.behaviours())
    images = [image_of(manifest, service) for service in manifest.services]
    replaceable = [image.reference for image in images if image.replaceable]
    if pulls and replaceable:
        yield _hit(manifest, "/pre_launch_script", f"pulls {listed(replaceable)} at each boot")


@rule(
    "PLS-014",
    Severity.LOW,
    "Script's check of ghcr.io fails on digests",
    why="Authors remove digests in order to deploy.",
    fix="Deploy again with script v0.0.16 or later.",
    source="Phala pre-launch script v0.0.13 to v0.0.15",
    needs=(Need.MANIFEST, Need.COMPOSE),
)
def ghcr_check(manifest: Manifest) -> Iterator[Hit]:
    """Phala's script v0.0.13 to v0.0.15, a ghcr.io image by digest, and DSTACK_DOCKER_* allowed."""
    known = manifest.known_script
    images = [image_of(manifest, service) for service in manifest.services]
    pinned = any(image.registry == "ghcr.io" and image.digest for image in images)
    credentials = any(name.startswith("DSTACK_DOCKER_") for name in manifest.allowed or ())
    if known is not None and "ghcr-check" in known.behaviours() and pinned and credentials:
        message = f"{known.name} refuses ghcr.io images by digest"
        yield _hit(manifest, "/pre_launch_script", message)


@rule(
    "PLS-015",
    Severity.MEDIUM,
    "Script runs what cannot be followed",
    why="Its name or its text is made while it runs: nobody can read here what it does.",
    fix="Write the command out.",
    source="POSIX XCU 2.9.1, command search and execution",
    needs=_NEEDS,
)
def lost_command(manifest: Manifest) -> Iterator[Hit]:
    """A command, or the text of `eval`, `source` or `sh -c`, is no constant; or the script takes
    more work than is done for one."""
    for pointer, _ in custom_scripts(manifest):
        for line in manifest.followed(pointer).lost[:_MAX_LOST]:
            yield _hit(manifest, pointer, f"line {line.number}, `{excerpt(line.text)}`")


_JUDGING: Final = (
    *(root_by_script, fetched_code, leaked_secrets, handed_key, evaluated_text),
    *(rewritten_configuration, script_credential),
)
RULES: Final = (
    *(known_script, false_banner, custom_script, root_by_script, fetched_code, leaked_secrets),
    *(handed_key, evaluated_text, late_gate, rewritten_configuration, script_credential),
    *(init_script, pull_at_boot, ghcr_check, lost_command),
)
