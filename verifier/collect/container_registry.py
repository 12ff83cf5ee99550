"""Container registries, anonymously: what a digest names, and who attested it.

    manifest by digest → (index: the linux/amd64 manifest) → configuration
    index and manifest → bundles that stand beside them, and attestations that GitHub keeps

OCI Distribution Specification 1.1; tokens as in the CNCF Distribution "Token Authentication
Specification"; attestations from GitHub's REST API, "List attestations". A registry may send the
client to other hosts in two places, and in each only so far as the public internet: to a token
service (asked for a token to pull this one repository, never with credentials), and, for a blob,
by one redirect to its store. Whatever comes is checked against the digest that asked for it.
"""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import httpx
from msgspec import Struct
from msgspec.structs import replace

from verifier.collect.budget import Share
from verifier.collect.challenges import Challenge, parse_challenges
from verifier.collect.http import REDIRECTS, HttpClient, Response, printable
from verifier.collect.limits import LIMITS, Limits
from verifier.collect.network import is_loopback, is_public, parse_address
from verifier.collect.workers import Workers
from verifier.errors import CollectError, EvidenceError, LimitError, NetworkError
from verifier.evidence import codec
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.images import oci, sigstore
from verifier.evidence.images.oci import ImageReference
from verifier.evidence.images.oci_resolution import Resolution
from verifier.patterns import pattern

if TYPE_CHECKING:
    from concurrent.futures import Future

MAX_IMAGES: Final = 64
MAX_ATTACHED: Final = 16
MAX_WORKERS: Final = 16
TOKEN_LIMITS: Final = Limits(share=Share.IMAGES, max_bytes=64 << 10)

_UNAUTHORIZED: Final = 401
_REFUSED: Final = frozenset({400, 401, 403, 404})
"""How a token service says that nobody gets one without a login; its other errors are failures."""
_MAX_CHALLENGES: Final = 3
_ACCEPT: Final = ", ".join((*oci.INDEX_TYPES, *oci.MANIFEST_TYPES))
_GITHUB_HEADERS: Final = {
    "Accept": "application/vnd.github+json",
    # The version whose answers hold the Sigstore bundles themselves; later ones name URLs.
    "X-GitHub-Api-Version": "2022-11-28",
}
_TOKEN: Final = pattern(r"[A-Za-z0-9._~+/-]{1,16384}=*", re.ASCII)


class Registries:
    """What registries tell of images, asked beside the rest of a collection: they need not wait for
    the chain, nor it for them, since both only need the measured manifest."""

    def __init__(
        self, client: HttpClient, builder: BundleBuilder, progress: Callable[[str], None]
    ) -> None:
        self._client, self._builder, self._progress = client, builder, progress
        self._aside = Workers(1)
        self._asked: dict[ImageReference, Future[None]] = {}

    def ask(self, images: Iterable[ImageReference]) -> None:
        """Ask about the images that were not asked about."""
        wanted = [item for item in images if item not in self._asked]
        if wanted:
            given = (self._client, wanted, self._builder, self._progress)
            asked = self._aside.submit(collect_images, *given)
            self._asked.update(dict.fromkeys(wanted, asked))

    def wait(self) -> None:
        """Wait for what was asked; raises what it raised."""
        for asked in self._asked.values():
            asked.result()


def collect_images(
    client: HttpClient,
    images: Iterable[ImageReference],
    builder: BundleBuilder,
    progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Record what registries and GitHub say about every image that is pinned by digest.

    Never raises for a source that fails: the failure is recorded with its reason. So is that an
    image was not asked about because there are more than `MAX_IMAGES`.
    """
    pinned = list(dict.fromkeys(replace(item, tag="") for item in images if item.digest))
    asked, rest = pinned[:MAX_IMAGES], pinned[MAX_IMAGES:]
    for item in rest[:MAX_IMAGES]:
        builder.add_failure(
            Kind.OCI_MANIFEST,
            source=item.manifest_url(item.digest),
            collected_at=client.clock(),
            error=f"not asked: {len(pinned)} images, over the limit of {MAX_IMAGES}",
        )
    if not asked:
        return
    skipped = f", {len(rest)} more over the limit" if rest else ""
    plural = "s" * (len(asked) != 1)
    progress(f"{len(asked)} image{plural}{skipped}: registries and attestations")
    workers = Workers(MAX_WORKERS)
    for done in [workers.submit(_Image(client, item, builder).collect) for item in asked]:
        done.result()


class _Image(Struct):
    """The collection of one image. `token` is the registry's, once it asked for one, and "" where
    none was given."""

    client: HttpClient
    reference: ImageReference
    builder: BundleBuilder
    token: str | None = None

    def collect(self) -> None:
        """Follow the digests as far as they lead, and ask for attestations of each."""
        source = ""
        way = Resolution(
            lambda digest, _: self._manifest_bytes(digest),
            lambda digest, _: self._config_bytes(digest),
        )
        # A failure is recorded where it happens; the checks say what it means.
        with suppress(CollectError, EvidenceError):
            source = way.resolve(self.reference.digest)[1].source
        digests = way.path
        workers = Workers(max(len(digests), 1))
        attached = [workers.submit(self._attached_bundles, digest) for digest in digests]
        self._github(source, digests)
        for done in attached:
            done.result()

    def _github(self, source: str, digests: list[str]) -> None:
        """Attestations that GitHub keeps. It answers sixty requests an hour without a login, so
        that the first find is enough."""
        for repository in sigstore.github_repositories(self.reference, source):
            for digest in digests:
                with suppress(CollectError, EvidenceError):
                    if self._attestations(sigstore.attestations_url(repository, digest)):
                        return

    def _manifest_bytes(self, digest: str) -> bytes:
        url = self.reference.manifest_url(digest)
        limits = LIMITS[Kind.OCI_MANIFEST]
        return self._recorded(Kind.OCI_MANIFEST, url, lambda: self._get(url, limits)).body

    def _config_bytes(self, digest: str) -> bytes:
        url = self.reference.blob_url(digest)
        return self._recorded(Kind.OCI_CONFIG, url, lambda: self._blob(url)).body

    def _attached_bundles(self, digest: str) -> None:
        """Sigstore bundles that stand in the registry beside the image; mostly there are none."""
        with suppress(CollectError, EvidenceError):
            self._referrers(digest)

    def _referrers(self, digest: str) -> None:
        listing = self._listing(digest)
        bundles = [item for item in listing if item.artifact_type == sigstore.BUNDLE_TYPE]
        for item in bundles[:MAX_ATTACHED]:
            # What is wrong with one attachment says nothing of the next.
            with suppress(CollectError, EvidenceError):
                found = oci.parse_manifest(self._manifest_bytes(item.digest), item.digest)
                if isinstance(found, oci.ImageManifest) and len(found.layers) == 1:
                    place = self.reference.blob_url(found.layers[0].digest)
                    self._recorded(Kind.SIGSTORE_BUNDLE, place, partial(self._blob, place))

    def _listing(self, digest: str) -> tuple[oci.Descriptor, ...]:
        """What the registry lists as attached to a manifest, in the first place that has a list.
        Raises CollectError."""
        for url in self.reference.referrers_urls(digest, sigstore.BUNDLE_TYPE):
            response = self._get(url, LIMITS[Kind.OCI_MANIFEST])
            if response.status in range(200, 300):
                with suppress(EvidenceError):
                    found = oci.parse_manifest(response.body, oci.digest_of(response.body))
                    if isinstance(found, oci.ImageIndex):
                        return found.manifests
        return ()

    def _attestations(self, url: str) -> bool:
        """Whether GitHub lists any attestation there. Raises CollectError, EvidenceError."""
        limits = LIMITS[Kind.SIGSTORE_BUNDLE]
        response = self._recorded(
            Kind.SIGSTORE_BUNDLE,
            url,
            lambda: self.client.request("GET", url, limits=limits, headers=_GITHUB_HEADERS),
        )
        return bool(sigstore.parse_bundles(response.body, url))

    def _blob(self, url: str) -> Response:
        limits = replace(LIMITS[Kind.OCI_CONFIG], follow_redirects=False)
        response = self._get(url, limits)
        if response.status not in REDIRECTS:
            return response
        location = response.header("location")
        target = _public_url(location, "the registry redirects a blob to", url)
        stored = self.client.request("GET", str(target), limits=limits)
        if stored.status in REDIRECTS:
            raise LimitError(
                f"{printable(url)}: more than one redirect of a blob",
                hint="import the image's manifest and configuration as files",
            )
        return stored

    def _get(self, url: str, limits: Limits) -> Response:
        """The registry's answer; when it wants a token, the answer to one, if there is one."""
        response = self.client.request("GET", url, limits=limits, headers=self._headers())
        if response.status == _UNAUTHORIZED and self.token is None:
            self.token = ""
            self.token = self._new_token(url, parse_challenges(_challenges(response)))
            if self.token:
                return self.client.request("GET", url, limits=limits, headers=self._headers())
        return response

    def _headers(self) -> dict[str, str]:
        authorization = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"Accept": _ACCEPT, **authorization}

    def _new_token(self, url: str, challenges: Iterable[Challenge]) -> str:
        """An anonymous token to pull this repository, or "" if none is given.

        Raises CollectError.
        """
        bearers = [item.parameters for item in challenges if item.scheme == "bearer"]
        for parameters in [item for item in bearers if item.get("realm")][:_MAX_CHALLENGES]:
            service = _public_url(parameters["realm"], "the registry's token service is", url)
            query = {"scope": f"repository:{self.reference.repository}:pull"}
            if "service" in parameters:
                query = {"service": parameters["service"], **query}
            target = str(service.copy_merge_params(query))
            response = self.client.request("GET", target, limits=TOKEN_LIMITS)
            if response.status not in _REFUSED:
                return _token(response.require_ok())
        return ""

    def _recorded(self, kind: Kind, url: str, ask: Callable[[], Response]) -> Response:
        """Ask, and record the answer or why there is none. Raises CollectError."""
        moment, status = self.client.clock(), None
        try:
            response = ask()
            status = response.status
            response.require_ok()
        except CollectError as error:
            self.builder.add_failure(
                kind, source=url, collected_at=moment, error=error.message, status=status
            )
            raise
        self.builder.add(
            kind,
            response.body,
            source=url,
            collected_at=moment,
            status=status,
            media_type=response.header("content-type"),
        )
        return response


def _challenges(response: Response) -> list[str]:
    return [value for name, value in response.headers if name.lower() == "www-authenticate"]


def _token(response: Response) -> str:
    try:
        document = codec.parse_json_object(response.body, "token answer")
        token = codec.text_field(document, "token", "token answer") or codec.text_field(
            document, "access_token", "token answer"
        )
    except EvidenceError as error:
        raise NetworkError(f"{printable(response.url)}: {error.message}") from error
    if not _TOKEN.fullmatch(token):
        raise NetworkError(f"{printable(response.url)}: the token answer holds no bearer token")
    return token


def _public_url(text: str, what: str, url: str) -> httpx.URL:
    """Where a registry's answer to `url` sends the client: public https, or back to itself.

    A name that resolves to an address that is not public is refused by the client, unless the user
    named it. Raises LimitError.
    """
    origin = httpx.URL(url)
    try:
        target = origin.join(text)
    except (httpx.InvalidURL, ValueError):
        target = httpx.URL()
    if (target.scheme, target.host, target.port) == (origin.scheme, origin.host, origin.port):
        return target
    address = parse_address(target.host)
    own = is_loopback(target.host) or (address is not None and not is_public(address))
    if target.scheme != "https" or not target.host or own:
        raise LimitError(
            f"{printable(url)}: {what} {printable(text)}, which is not public https",
            hint="do not trust this registry with requests to other machines",
        )
    return target
