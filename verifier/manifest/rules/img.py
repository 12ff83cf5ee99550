"""IMG: which code the images name, and who can exchange it."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from verifier.manifest.image import (
    DIGEST,
    Image,
    Kind,
    Role,
    cached_image,
    classify_image,
    image_of,
    named_images,
    other_platform,
)
from verifier.manifest.model import Manifest, Service, Text
from verifier.manifest.rule import Hit, listed, on_service, on_text, rule
from verifier.manifest.rules.shell import unpinned_installs
from verifier.model.result import Severity
from verifier.patterns import pattern

_IMAGE_KEY: Final = pattern(
    r"(?:^|_)(?:IMAGE|IMG|CONTAINER)(?:_?(?:REF|TAG|DIGEST|NAME|REPO))?$", re.IGNORECASE
)
_REFERENCE: Final = pattern(
    r"[\w.-]+(?:[:/][\w.-]+)*[:/][\w.-]+(?:@sha256:[0-9a-f]{64})?", re.ASCII
)
_UPDATER: Final = pattern(
    r"watchtower|ouroboros|diun|shepherd|compose-manager|git-launcher|argocd|flux(?!n)|portainer"
    r"|dockge|coolify|keel|(?:^|[-_/])launcher",
    re.IGNORECASE,
)
_CODE_SOURCE: Final = pattern(
    r"^(?:GITHUB_REPO|REPO_URL|GIT_REPO|COMMIT_SHA|\w+_MODULE_URL|LAUNCHER_CHANNEL)$"
)
_COMMIT: Final = pattern(r"[0-9a-f]{40}", re.ASCII)
_REMOTE: Final = pattern(r"^(?:\w+://|git@|oci:|github\.com/)|\.git(?:#|$)")
_PINNED_REMOTE: Final = pattern(r"@sha256:[0-9a-f]{64}|#[0-9a-f]{40}$", re.ASCII)
_FROM: Final = pattern(r"^[ \t]*FROM\s+(?:--platform=\S+\s+)?(\S+)", re.MULTILINE | re.IGNORECASE)
_DOCKER_RUN: Final = pattern(r"\bdocker (?:run|pull)\b.{0,300}?(\S{1,200}[:/]\S{1,200})")
_SSHD: Final = pattern(r"chpasswd|PermitRootLogin|authorized_keys")
_EPHEMERAL: Final = pattern(r"(?:^|\.)(?:ttl\.sh|ngrok(?:-free)?\.(?:io|app)|loca\.lt)$")
_IP: Final = pattern(r"\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?", re.ASCII)


def _images(manifest: Manifest) -> Iterator[tuple[Service, Text, Image]]:
    for service in manifest.services:
        if service.image is not None:
            yield service, service.image, image_of(manifest, service)


def _pulled(manifest: Manifest) -> Iterator[tuple[Text, Image]]:
    """The images that are pulled: not what a service that is built is only named."""
    built = {service.name for service in manifest.services if service.builds}
    for item in named_images(manifest):
        if item.role is not Role.SERVICE or item.service not in built:
            yield item.text, item.image


@rule(
    "IMG-001",
    Severity.CRITICAL,
    "Image reference contains a variable that the operator sets",
    why="The operator runs any code with the app's keys while the compose hash stays the same. A "
    "default does not help, nor does a fixed repository.",
    fix="Write `repository@sha256:…` into the compose file.",
    source="dstack docs/security/security-best-practices.md; docs.docker.com interpolation",
)
def operator_image(manifest: Manifest) -> Iterator[Hit]:
    """A variable of an image reference (whole, repository, tag or digest) is in allowed_envs, or
    comes from the host or from a script that does not set it to a literal. Images are named by
    `image`, by volumes of type image, hooks, build contexts (`docker-image://`) and models."""
    for item in named_images(manifest):
        text, image = item.text, item.image
        if image.kind is Kind.OPERATOR:
            yield on_text(
                text,
                f"{listed(image.names)} {'would choose' if manifest.unsure else 'chooses'} the "
                f"image `{text.text}`",
                conditional=manifest.unsure and image.names[0] not in manifest.provided,
                names=image.names,
            )


@rule(
    "IMG-002",
    Severity.HIGH,
    "Image variable can never be set",
    why="Compose puts in the empty string: this is not the manifest that runs, or it cannot start.",
    fix="Write the reference as it is.",
    source="docs.docker.com interpolation",
)
def unset_image(manifest: Manifest) -> Iterator[Hit]:
    """A variable of `image` without a default is in nobody's power to set."""
    for item in named_images(manifest):
        text, image = item.text, item.image
        if image.kind is Kind.UNSET:
            message = f"nobody can set {listed(image.names)} in `{text.text}`"
            yield on_text(text, message, names=image.names)


@rule(
    "IMG-003",
    Severity.INFO,
    "Image variable with a default that nobody can replace",
    why="The default is what runs; allowing the variable later would open it silently.",
    fix="Write the default without the variable.",
    source="docs.docker.com interpolation",
)
def constant_image(manifest: Manifest) -> Iterator[Hit]:
    """`${V:-reference}` in `image` where V is neither allowed nor set by the platform."""
    for item in named_images(manifest):
        text, image = item.text, item.image
        if image.constant and image.kind is not Kind.UNSET:
            yield on_text(text, f"always `{image.reference}`")


@rule(
    "IMG-004",
    Severity.HIGH,
    "Image is named by a tag, not by a digest",
    why="Whoever can push the tag serves other code at the next pull; for docker.io also the host, "
    "through a registry mirror. Phala's script of v0.0.15 and later pulls at every boot.",
    fix="Name it as `repository:tag@sha256:…`.",
    source="dstack docs/security/security-best-practices.md, public reports #615 and #616",
)
def tagged_image(manifest: Manifest) -> Iterator[Hit]:
    """The reference has a version-like tag (version, date, commit) and no digest."""
    for text, image in _pulled(manifest):
        if image.kind is Kind.TAG:
            yield on_text(text, f"the tag `{image.tag}` of `{image.repository}` can be moved")


@rule(
    "IMG-005",
    Severity.HIGH,
    "Image has a rolling tag, or none",
    why="Even honest rebuilds change it: no evidence can name the code that runs.",
    fix="Name it as `repository:tag@sha256:…`.",
    source="dstack docs/security/security-best-practices.md",
)
def rolling_image(manifest: Manifest) -> Iterator[Hit]:
    """No tag, or one that is meant to move: latest, main, dev, 7-alpine, v22."""
    for text, image in _pulled(manifest):
        if image.kind in {Kind.ROLLING, Kind.UNTAGGED}:
            tag = f"the tag `{image.tag}`" if image.tag else "no tag, so `latest`,"
            yield on_text(text, f"{tag} of `{image.repository}` moves")


@rule(
    "IMG-006",
    Severity.INFO,
    "Image has a tag beside its digest",
    why="Docker uses the digest alone; the tag is a claim that may lie about it.",
    fix="Keep it, and check that the tag's commit gives this digest.",
    source="docs.docker.com image references",
)
def tag_and_digest(manifest: Manifest) -> Iterator[Hit]:
    """Tag and digest together."""
    for text, image in _pulled(manifest):
        if image.kind is Kind.DIGEST and image.tag:
            yield on_text(text, f"`{image.tag}` says nothing about {image.digest[:19]}…")


@rule(
    "IMG-007",
    Severity.MEDIUM,
    "Malformed or placeholder digest",
    why="Docker refuses it: this text is not what runs.",
    fix="Put in the real digest.",
    source="OCI distribution specification",
)
def bad_digest(manifest: Manifest) -> Iterator[Hit]:
    """`@` without sha256 and 64 lower-case hex digits, a repeated pattern, a bare local image id,
    an upper-case repository, or text that a pipeline should have replaced."""
    for text, image in _pulled(manifest):
        if image.kind is Kind.BAD:
            yield on_text(text, f"`{image.reference}` cannot be pulled")
        elif image.kind is Kind.PLACEHOLDER:
            yield on_text(text, f"`{image.reference}` is an unresolved template", Severity.INFO)


@rule(
    "IMG-008",
    Severity.MEDIUM,
    "Image reference outside of `image`",
    why="A service with the Docker socket pulls it at run time: what holds for `image` holds here.",
    fix="Name it by digest, as a literal.",
    source="case studies of Xordi and near.ai",
)
def secondary_image(manifest: Manifest) -> Iterator[Hit]:
    """An environment value whose key says that it is an image, or `docker run|pull` in a command,
    judged like IMG-001 to IMG-005."""
    severities = {Kind.OPERATOR: Severity.CRITICAL, Kind.TAG: Severity.HIGH}
    severities |= {Kind.ROLLING: Severity.HIGH, Kind.UNTAGGED: Severity.HIGH}
    for service in manifest.services:
        for env in service.environment.values():
            if not _IMAGE_KEY.search(env.key) or not env.value:
                continue
            image = classify_image(manifest, env.text, env.value if env.literal else None)
            named = bool(env.variables) or _REFERENCE.fullmatch(env.value)
            if named and image.kind in severities and not DIGEST.search(env.value):
                is_repository = env.key.upper().endswith("REPO") and image.kind is Kind.UNTAGGED
                yield on_text(
                    env.text,
                    f"{env.key} names the image `{env.value}`",
                    Severity.INFO if is_repository else severities[image.kind],
                    conditional=manifest.unsure and image.kind is Kind.OPERATOR,
                    names=[variable.name for variable in env.variables],
                )
        for command in service.commands:
            for reference in _DOCKER_RUN.findall(command.text)[:50]:
                if not DIGEST.search(reference):
                    names = [item.name for item in command.variables if item.name in reference]
                    yield on_text(command, f"runs `{reference}`", Severity.HIGH, names=names)


@rule(
    "IMG-009",
    Severity.HIGH,
    "A service selects code at run time",
    why="Code outside of the manifest decides what runs; the hash covers the updater alone.",
    fix="Pin commit or digest in the compose file; log what is started to RTMR3, and allow it on "
    "chain.",
    source="case study of near.ai; images' own documentation",
)
def updater(manifest: Manifest) -> Iterator[Hit]:
    """The image is an updater or launcher (watchtower, portainer, compose-manager, …), or a
    variable names a repository, commit or channel to run."""
    for service, text, image in _images(manifest):
        sources = [
            env for env in service.environment.values() if _CODE_SOURCE.fullmatch(env.key.upper())
        ]
        chosen = [env for env in sources if manifest.operator_names(*env.variables)]
        literal = [env for env in sources if _COMMIT.fullmatch(env.literal or "")]
        is_updater = _UPDATER.search(image.basename or text.unset)
        if not is_updater and not sources:
            continue
        severity = Severity.HIGH
        if any(env.key.upper() == "COMMIT_SHA" for env in chosen):
            severity = Severity.CRITICAL
        elif literal or (not sources and _digest_env(service)):
            severity = Severity.MEDIUM
        what = f"`{image.basename or text.text}` starts code of its own choice"
        names = f" ({listed([env.key for env in sources])})" if sources else ""
        yield on_text(text, what + names, severity, conditional=bool(chosen) and manifest.unsure)


def _digest_env(service: Service) -> bool:
    return any(
        DIGEST.fullmatch(env.literal or "") and env.key.upper().endswith("DIGEST")
        for env in service.environment.values()
    )


@rule(
    "IMG-010",
    Severity.MEDIUM,
    "Image is built on the guest",
    why="Nobody can name what results: no digest is in the manifest. A relative context is "
    "/dstack, which holds the keys and none of the repository's files.",
    fix="Build it elsewhere and name it by digest.",
    source="dstack os/common/rootfs/app-compose.sh (`--build`)",
)
def built_image(manifest: Manifest) -> Iterator[Hit]:
    """The service has `build`."""
    for service in manifest.services:
        context = service.build_context
        if service.builds and not (context and _REMOTE.search(context.unset)):
            yield on_service(service, "built at boot; its image has no digest")


@rule(
    "IMG-011",
    Severity.HIGH,
    "Inline Dockerfile fetches unpinned content",
    why="Mirrors decide at boot what is built in.",
    fix="Build it elsewhere and name it by digest.",
    source="dstack docs/security/security-best-practices.md",
)
def unpinned_dockerfile(manifest: Manifest) -> Iterator[Hit]:
    """In dockerfile_inline: FROM without a digest, package installs and downloads without version
    and hash, variables that the operator sets, or an SSH server being opened."""
    for service in manifest.services:
        text = service.dockerfile
        if text is None:
            continue
        for base in _FROM.finditer(text.text):
            if not DIGEST.search(base[1]) and base[1].lower() != "scratch":
                message = f"FROM `{base[1]}` is not pinned by digest"
                yield on_text(text, message, offset=base.start(1))
        for found, severity, offset in unpinned_installs(text.text):
            message = f"`{found}` fetches at build time"
            yield on_text(text, message, severity, offset=offset)
        server = _SSHD.search(text.text)
        if server:
            message = "opens an SSH server"
            yield on_text(text, message, Severity.CRITICAL, offset=server.start())
        names = manifest.operator_names(*text.variables)
        if names:
            yield on_text(
                text,
                f"{listed(names)} becomes part of the build",
                Severity.CRITICAL,
                conditional=manifest.unsure,
            )


@rule(
    "IMG-012",
    Severity.CRITICAL,
    "Compose text or build context is fetched from elsewhere",
    why="It is outside of the compose hash: its server decides what runs.",
    fix="Put the text into the one compose file.",
    source="docs.docker.com include and build",
)
def remote_text(manifest: Manifest) -> Iterator[Hit]:
    """`include`, `extends.file` or a build context that is a URL, a git or an OCI reference; a
    build cache that is no image. Pinned by digest or full commit it is medium."""
    places = [service.text("extends", "file") for service in manifest.services]
    places += [text for service in manifest.services for text in service.build_contexts]
    for text in (*filter(None, places), *manifest.includes):
        chosen = manifest.operator_names(*text.variables)
        if not text.unset.startswith("docker-image://") and (_REMOTE.search(text.unset) or chosen):
            severity = Severity.MEDIUM if _PINNED_REMOTE.search(text.text) else None
            yield on_text(text, f"`{text.text}` is fetched at boot", severity)
    for service in manifest.services:
        for text in service.texts("build", "cache_from"):
            if not cached_image(text.unset):
                yield on_text(text, f"the build takes layers from `{text.text}`")


@rule(
    "IMG-013",
    Severity.LOW,
    "Pull policy resolves a tag again and again",
    why="It makes a moved tag take effect at every start.",
    fix="Name the image by digest.",
    source="docs.docker.com pull_policy",
)
def pull_policy(manifest: Manifest) -> Iterator[Hit]:
    """`pull_policy: always` or `every_…` on an image that can be replaced; a platform other than
    linux/amd64 is noted."""
    for service, text, image in _images(manifest):
        policy, platform = service.text("pull_policy"), other_platform(manifest, service)
        if policy and image.replaceable and re.match(r"always|every_|daily|weekly", policy.unset):
            yield on_text(policy, f"`{image.reference}` is resolved again at each start")
        if platform:
            message = f"it is the image for {platform}, if its index holds one"
            yield on_text(service.text("platform") or text, message, Severity.INFO)


@rule(
    "IMG-014",
    Severity.INFO,
    "Registry that an image comes from",
    why="Others can rebuild and inspect public images only; an ephemeral or bare-address registry "
    "serves whatever it likes.",
    fix="Publish the image with a source label, by digest.",
    source="OCI distribution specification",
)
def registry_class(manifest: Manifest) -> Iterator[Hit]:
    """The registry of each image outside of docker.io; ephemeral ones and IP addresses are high."""
    for text, image in _pulled(manifest):
        host = image.registry.partition(":")[0]
        if not host or host == "docker.io":
            continue
        dangerous = _EPHEMERAL.search(host) or _IP.fullmatch(image.registry)
        severity = Severity.HIGH if dangerous else None
        yield on_text(text, f"from the registry {image.registry}", severity)


@rule(
    "IMG-015",
    Severity.LOW,
    "The manifest disagrees with itself about an image",
    why="What the app says about itself may be stale.",
    fix="Generate reference and self-description from one value.",
    source="case study of hermes",
)
def image_disagreement(manifest: Manifest) -> Iterator[Hit]:
    """One repository with several references, or IMAGE_DIGEST, GIT_SHA and the like that differ
    from the service's own image."""
    references = defaultdict(set)
    for _, _, image in _images(manifest):
        if image.repository:
            references[image.registry, image.repository].add((image.tag, image.digest))
    for service, text, image in _images(manifest):
        if len(references.get((image.registry, image.repository), ())) > 1:
            yield on_text(text, f"`{image.repository}` is here in several versions")
        said = service.environment.get("IMAGE_DIGEST")
        if said and said.literal and image.digest and said.literal != image.digest:
            yield on_text(said.text, f"IMAGE_DIGEST says {said.literal}, image {image.digest}")
        own = service.environment.get("DSTACK_CONTAINER_IMAGE_ID")
        if own and own.literal and image.digest and image.digest not in own.literal:
            yield on_text(own.text, "DSTACK_CONTAINER_IMAGE_ID differs from the image's digest")
        commit = service.environment.get("GIT_SHA")
        is_commit = re.fullmatch(r"[0-9a-f]{7,40}", image.tag)
        if commit and commit.literal and is_commit and not _same_commit(commit.literal, image.tag):
            yield on_text(commit.text, f"GIT_SHA says {commit.literal}, the tag {image.tag}")


def _same_commit(one: str, other: str) -> bool:
    length = min(len(one), len(other))
    return one[:length].lower() == other[:length].lower()


RULES: Final = (
    *(operator_image, unset_image, constant_image, tagged_image, rolling_image, tag_and_digest),
    *(bad_digest, secondary_image, updater, built_image, unpinned_dockerfile, remote_text),
    *(pull_policy, registry_class, image_disagreement),
)
