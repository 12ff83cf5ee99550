"""Image references, told apart by who can change what they name.

    operator    a variable that operator or host sets     rolling   latest, dev, 7-alpine …
    unset       a variable that nobody can set            untagged  the same as latest
    placeholder text that a pipeline replaces             tag       any other tag
    digest      sha256 of a manifest: one image, always  bad       not a digest, or a local id

A variable with a default that nobody can set is the default (`constant` is then true).
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from msgspec import Struct

from verifier.evidence.images.oci import is_of_guests
from verifier.manifest.model import Manifest, Service, Text
from verifier.patterns import pattern

DIGEST: Final = pattern(r"sha256:[0-9a-f]{64}", re.ASCII)
_PLACEHOLDER: Final = pattern(r"__\w+__|\{\{|<[^>]+>")
_FAKE_DIGEST: Final = pattern(r"sha256:(.{1,8}?)\1{7,}", re.ASCII)
_ROLLING: Final = pattern(
    r"(?:main|master|dev|develop|edge|nightly|stable|staging|beta|canary|prod|alpine|slim)"
    r"|.*latest.*|v?\d+(?:\.\d+)?(?:-\w+)?",
    re.ASCII | re.IGNORECASE,
)
_NOT_ROLLING: Final = pattern(r".*(?<!\d)\d{8}(?!\d).*|[0-9a-f]{7,40}", re.ASCII)

_IMAGE_CONTEXT: Final = "docker-image://"
_PLATFORM_VARIABLE: Final = "DOCKER_DEFAULT_PLATFORM"
"""From which Compose takes the platform of a service that names none (compose pkg/compose)."""

THIRD_PARTY: Final = frozenset(
    [
        "adminer",
        "amir20",
        "bitnami",
        "certbot",
        "clickhouse",
        "cloudflare",
        "containrrr",
        "coollabsio",
        "datadog",
        "dozzle",
        "elastic",
        "fluent",
        "getsentry",
        "gliderlabs",
        "grafana",
        "haproxytech",
        "hashicorp",
        "jupyter",
        "kasmweb",
        "linuxserver",
        "lmsysorg",
        "louislam",
        "m1k1o",
        "minio",
        "n8nio",
        "netdata",
        "nginxinc",
        "ollama",
        "otel",
        "phpmyadmin",
        "portainer",
        "prom",
        "qdrant",
        "quay",
        "rabbitmq",
        "redis",
        "supabase",
        "tailscale",
        "timberio",
        "traefik",
        "vllm",
    ]
)
"""Organisations whose images are products for everybody. A list of hints, never complete."""


class Kind(StrEnum):
    """See the module's text."""

    NONE = "none"
    OPERATOR = "operator"
    UNSET = "unset"
    PLACEHOLDER = "placeholder"
    DIGEST = "digest"
    BAD = "bad"
    TAG = "tag"
    ROLLING = "rolling"
    UNTAGGED = "untagged"


REPLACEABLE: Final = frozenset({Kind.OPERATOR, Kind.TAG, Kind.ROLLING, Kind.UNTAGGED})


class Image(Struct, frozen=True, kw_only=True):
    """A classified reference.

    kind        what fixes the code behind it: see the module's text
    reference   the reference, with its variables put in as far as they have constant values; "" for
                none
    registry    its registry, `docker.io` where it names none; "" where variables leave it open
    repository  its repository, without `library/`; "" where variables leave it open
    tag         its tag; "" for none
    digest      its digest with the algorithm, `sha256:…`; "" for none
    names       the operator's or unset variables in it; () for none
    constant    whether it has variables, all with constant values
    """

    kind: Kind
    reference: str
    registry: str = ""
    repository: str = ""
    tag: str = ""
    digest: str = ""
    names: tuple[str, ...] = ()
    constant: bool = False

    @property
    def replaceable(self) -> bool:
        """Whether somebody can exchange the code behind it while the manifest stays."""
        return self.kind in REPLACEABLE

    @property
    def basename(self) -> str:
        """The last part of the repository."""
        return self.repository.rpartition("/")[2]

    @property
    def third_party(self) -> bool:
        """Whether it is somebody's product rather than the app's own (by a list of hints)."""
        organisation = self.repository.partition("/")[0]
        is_library = self.registry == "docker.io" and "/" not in self.repository
        return is_library or organisation.lower() in THIRD_PARTY


def image_of(manifest: Manifest, service: Service) -> Image:
    """A service's image."""
    found = manifest.images.get(service.name)
    if found is None:
        none = Image(kind=Kind.NONE, reference="")
        found = classify_image(manifest, service.image) if service.image else none
        manifest.images[service.name] = found
    return found


def other_platform(manifest: Manifest, service: Service) -> str:
    """The platform for which a service wants its image, as written: by its own word, else by the
    variable that Compose takes it from where the operator or a script sets that; "" for the one
    that Docker chooses in a guest. Of an index, another platform gets another image."""
    text, written = service.text("platform"), ""
    if text is not None:
        others = any(item.name in manifest.provided for item in text.variables)
        written = text.text if others or manifest.operator_names(*text.variables) else text.unset
    if not written.strip() and _sets_platform(manifest):
        written = f"${{{_PLATFORM_VARIABLE}}}"
    return "" if is_of_guests(written) else written


def _sets_platform(manifest: Manifest) -> bool:
    """Whether anybody may set the platform of all services that name none."""
    return _PLATFORM_VARIABLE in (manifest.allowed or ()) or _PLATFORM_VARIABLE in manifest.provided


class Role(StrEnum):
    """Where a compose file names an image."""

    SERVICE = "image"
    VOLUME = "volume of type image"
    HOOK = "hook"
    CONTEXT = "build context"
    CACHE = "build cache"
    MODEL = "model"


class NamedImage(Struct, frozen=True):
    """An image that the compose file names. `service` is "" where it belongs to none."""

    service: str
    role: Role
    text: Text
    image: Image


def named_images(manifest: Manifest) -> tuple[NamedImage, ...]:
    """Every image that Compose gets for the file: those of services, of volumes, hooks and build
    contexts, and models. What scripts and commands get is not among them."""
    if manifest.named_images is None:
        manifest.named_images = tuple(_named(manifest))
    return manifest.named_images


def _named(manifest: Manifest) -> Iterator[NamedImage]:
    for service in manifest.services:
        name = service.name
        if service.image is not None:
            yield NamedImage(name, Role.SERVICE, service.image, image_of(manifest, service))
        for mount in service.mounts:
            if mount.kind == "image":
                image = classify_image(manifest, mount.text)
                yield NamedImage(name, Role.VOLUME, mount.text, image)
        for hook in service.hooks:
            if hook.image is not None:
                image = classify_image(manifest, hook.image)
                yield NamedImage(name, Role.HOOK, hook.image, image)
        yield from _of_build(manifest, service)
    for _, text in manifest.shared.models():
        yield NamedImage("", Role.MODEL, text, classify_image(manifest, text))


def _of_build(manifest: Manifest, service: Service) -> Iterator[NamedImage]:
    for text in service.build_contexts:
        if text.unset.startswith(_IMAGE_CONTEXT):
            value = text.unset.removeprefix(_IMAGE_CONTEXT)
            image = classify_image(manifest, text, value)
            yield NamedImage(service.name, Role.CONTEXT, text, image)
    for text in service.texts("build", "cache_from"):
        reference = cached_image(text.unset)
        if reference:
            image = classify_image(manifest, text, reference)
            yield NamedImage(service.name, Role.CACHE, text, image)


def cached_image(text: str) -> str:
    """The image whose layers a build takes for its own, "" for a cache of another kind.

    A builder believes what such an image says its steps gave. Source: docs.docker.com/build/cache.
    """
    if "=" not in text:
        return text
    given = dict(part.partition("=")[::2] for part in text.split(","))
    return given.get("ref", "") if given.get("type") == "registry" else ""


def other_images(manifest: Manifest) -> tuple[NamedImage, ...]:
    """Those of them that are not a service's own: code of the app all the same."""
    return tuple(item for item in named_images(manifest) if item.role is not Role.SERVICE)


def replaceable_services(manifest: Manifest) -> set[str]:
    """The services of which somebody can exchange code while the manifest stays."""
    return {item.service for item in named_images(manifest) if item.image.replaceable}


def classify_image(manifest: Manifest, text: Text, value: str | None = None) -> Image:
    """What the reference in a text (or in its part `value`) names, and who can change it."""
    variables = text.variables
    operator = manifest.operator_names(*variables)
    if operator:
        return Image(kind=Kind.OPERATOR, reference=text.text, names=operator)
    set_by_others = [item for item in variables if item.name in manifest.provided]
    chosen = tuple(
        item.name for item in set_by_others if manifest.script_values.get(item.name) is None
    )
    if chosen:
        return Image(kind=Kind.OPERATOR, reference=text.text, names=chosen)
    if set_by_others and text.template is not None and value is None:
        value = text.template.render(manifest.script_values.get)
    unset = tuple(
        item.name
        for item in variables
        if item.default is None and item.name not in manifest.provided
    )
    if unset:
        return Image(kind=Kind.UNSET, reference=text.text, names=unset)
    return _literal(text.unset if value is None else value, constant=bool(variables))


def _literal(reference: str, *, constant: bool) -> Image:
    head, at, digest = reference.strip().partition("@")
    path, _, tag = head.rpartition(":")
    if not path or "/" in tag:
        path, tag = head, ""
    first, slash, rest = path.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    registry = first if is_host else "docker.io"
    repository = (rest if is_host else path).removeprefix("library/")
    if _PLACEHOLDER.search(reference):
        kind = Kind.PLACEHOLDER
    elif at:
        good = DIGEST.fullmatch(digest) and not _FAKE_DIGEST.fullmatch(digest)
        kind = Kind.DIGEST if good else Kind.BAD
    elif DIGEST.fullmatch(reference.strip()):
        kind = Kind.BAD
    elif not tag:
        kind = Kind.UNTAGGED
    else:
        rolling = _ROLLING.fullmatch(tag) and not _NOT_ROLLING.fullmatch(tag)
        kind = Kind.ROLLING if rolling else Kind.TAG
    if kind is not Kind.PLACEHOLDER and repository != repository.lower():
        kind = Kind.BAD
    return Image(
        kind=kind,
        reference=reference,
        registry=registry,
        repository=repository,
        tag=tag,
        digest=digest,
        constant=constant,
    )
