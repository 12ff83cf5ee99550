"""Results signed for an identity: by Sigstore's services on loopback, held against evidence."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import Struct
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.cli.command import Ran, Run
from tests.cli.test_signed import ASKED, ROOT, SOON, THEN, write_keys
from tests.gates.test_action import APP_ID
from verifier.cli.clock import now as clock
from verifier.lab.keyless import Lie, Services
from verifier.lab.sigstore import Sigstore, Workflow

IDENTITY: Final = Workflow().identity
OTHER: Final = "https://github.com/other/app/.github/workflows/b.yml@refs/heads/main"
RUNNER: Final = ("GITHUB_ACTIONS", "GITLAB_CI", "SIGSTORE_ID_TOKEN", "CIRCLECI", "BUILDKITE")
Change = Callable[[Any], None]


class Signers(Struct, frozen=True):
    """A folder with a statement, the instance's config and root, and a token; and its services."""

    folder: Path
    services: Services

    def bundle(self) -> Any:
        """What was signed."""
        return json.loads((self.folder / "signed.json").read_bytes())

    def write(self, document: Any) -> None:
        """Put another one in its place."""
        (self.folder / "signed.json").write_text(json.dumps(document))

    def payload(self) -> Any:
        """The statement that was signed."""
        return json.loads((self.folder / "s.json").read_bytes())


@pytest.fixture(scope="module")
def statement(run_before: Run) -> bytes:
    """The demo's statement, made once."""
    ran = run_before("app", APP_ID, *ASKED, "--at", THEN, "--format", "statement")
    assert ran.code == 0, ran.err
    return ran.out.encode()


@pytest.fixture
def serving(
    tmp_path: Path, httpserver: HTTPServer, statement: bytes, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Lie], Signers]:
    for name in RUNNER:
        monkeypatch.delenv(name, raising=False)

    def start(lie: Lie) -> Signers:
        services = Services(clock, lie=lie)

        def handle(request: Request) -> Response:
            answer = services.respond(
                request.method, request.url, dict(request.headers), request.get_data()
            )
            return Response(answer.body, answer.status, dict(answer.headers))

        for method, path in (("POST", "/api/v2/signingCert"), ("POST", "/api/v1/log/entries")):
            httpserver.expect_request(path, method).respond_with_handler(handle)
        httpserver.expect_request("/token", "GET").respond_with_handler(handle)
        (tmp_path / "s.json").write_bytes(statement)
        config = services.trust_config(httpserver.url_for(""))
        (tmp_path / "config.json").write_bytes(config)
        (tmp_path / "root.json").write_bytes(services.instance().trusted_root)
        (tmp_path / "token").write_text(services.token(Workflow()) + "\n")
        return Signers(tmp_path, services)

    return start


SIGN: Final = ("sign", "s.json", "--trust-config", "config.json", "-o", "signed.json")
TOKEN: Final = ("--identity-token", "token")


@pytest.fixture
def signers(serving: Callable[[Lie], Signers], call: Run) -> Signers:
    """The statement signed for the lab's workflow."""
    found = serving(Lie.NONE)
    ran = call(*SIGN, *TOKEN)
    assert ran.code == 0, ran.err
    return found


def check(call: Run, *more: str, identity: str = IDENTITY, at: str = SOON) -> Ran:
    words = (*(("--identity", identity) if identity else ()), "--trusted-root", "root.json")
    return call("report", "signed.json", APP_ID, *ASKED, "--at", at, *words, *more)


def test_a_token_that_is_handed_over_signs(signers: Signers, call: Run) -> None:
    assert signers.services.told == ["/api/v2/signingCert", "/api/v1/log/entries"]
    proof = signers.bundle()["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
    assert (proof["treeSize"], len(proof["hashes"])) == ("6", 2)
    ran = check(call)
    assert ran.code == 0, ran.err
    assert "this evidence gives this very report" in ran.err
    assert f"{IDENTITY} signed it" in ran.err
    assert "by the trusted root of root.json" in ran.err


@pytest.mark.usefixtures("signers")
def test_another_clone_holds_the_same(call: Run, run: Run) -> None:
    """Another process in another environment, without the services."""
    words = ("--identity", IDENTITY, "--trusted-root", "root.json", "--at", SOON)
    assert run("report", "signed.json", APP_ID, *ASKED, *words).code == 0
    assert check(call, "--policy", "genuine").code == 4


def test_the_identity_of_a_runner_signs(
    serving: Callable[[Lie], Signers],
    call: Run,
    httpserver: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signers = serving(Lie.NONE)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "bearer")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", httpserver.url_for("/token"))
    ran = call(*SIGN, "--keyless")
    assert ran.code == 0, ran.err
    assert signers.services.told[0] == "/token"
    assert f"--identity {IDENTITY} --issuer https://token.actions" in ran.err
    assert check(call).code == 0


def test_a_runner_without_permission_is_told_so(
    serving: Callable[[Lie], Signers], call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving(Lie.NONE)
    assert "there is no identity here" in call(*SIGN, "--keyless").err
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    ran = call(*SIGN, "--keyless")
    assert (ran.code, "id-token: write" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (Lie.OTHER_KEY, "does not verify: DSSE: invalid signature"),
        (Lie.OTHER_AUTHORITY, "SCT verify failed"),
        (Lie.EXPIRED, "ExpiredCertificate"),
        (Lie.OTHER_ENTRY, "payload hash does not match"),
        (Lie.OTHER_LOG, "none of the trusted root's"),
        (Lie.NO_PROOF, "inclusionProof"),
        (Lie.BROKEN_PROOF, "inclusion proof has wrong size"),
    ],
)
def test_services_that_lie_sign_nothing(
    serving: Callable[[Lie], Signers], call: Run, lie: Lie, said: str
) -> None:
    signers = serving(lie)
    ran = call(*SIGN, *TOKEN)
    assert (ran.code, said in ran.err) == (3, True), ran.err
    assert not (signers.folder / "signed.json").exists()


def test_what_cannot_sign_is_one_line(serving: Callable[[Lie], Signers], call: Run) -> None:
    folder = serving(Lie.NONE).folder
    write_keys(folder, "key")
    (folder / "ear.json").write_text('{"eat_profile":"x"}')
    foreign = Services(clock, label="another instance").token(Workflow())
    (folder / "foreign").write_text(foreign)
    (folder / "late").write_text(Services(clock).token(Workflow(), lasts=-60))
    (folder / "no.json").write_text("{}")
    for words, code, said in (
        ((), 2, "who signs?"),
        (("--key", "key.pem", "--keyless"), 2, "a key signs by itself"),
        (("--key", "key.pem", "--trust-config", "config.json"), 2, "a key signs by itself"),
        (("--identity-token", "no.json"), 2, "the identity token cannot be used"),
        (("--identity-token", "late", "--trust-config", "config.json"), 2, "cannot be used"),
        (("--identity-token", "foreign", "--trust-config", "config.json"), 3, "HTTP 400"),
        (("--identity-token", "token", "--trust-config", "no.json"), 2, "no Sigstore instance"),
        (("--identity-token", "token", "--trust-config", "root.json"), 2, "no Sigstore instance"),
    ):
        ran = call("sign", "s.json", *words)
        assert (ran.code, said in ran.err, ran.out) == (code, True, ""), (words, ran.err)


def dropped(name: str) -> Change:
    return lambda bundle: bundle["verificationMaterial"]["tlogEntries"][0].pop(name)


def forged(bundle: Any) -> None:
    raw = bytearray(base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"]))
    raw[-1] ^= 1
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(raw).decode()


def changed(bundle: Any) -> None:
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    statement["predicate"]["timeExpires"] = "2036-06-22T12:00:00Z"
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    bundle["dsseEnvelope"]["payload"] = payload


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (forged, "invalid signature"),
        (changed, "invalid signature"),
        (dropped("inclusionProof"), "no proof that it stands in a transparency log"),
        (dropped("inclusionPromise"), "inclusion promise"),
    ],
)
def test_what_was_changed_is_refused(
    signers: Signers, call: Run, change: Change, said: str
) -> None:
    bundle = signers.bundle()
    change(bundle)
    signers.write(bundle)
    for words in ({"identity": IDENTITY}, {"identity": ""}):
        ran = check(call, "--check", **words)
        assert (ran.code, said in ran.err) == (4, True), ran.err


def test_another_author_log_or_time_is_refused_by_name(signers: Signers, call: Run) -> None:
    ran = check(call, identity=OTHER)
    assert (ran.code, "do not match" in ran.err and IDENTITY in ran.err) == (4, True)
    assert "by the trusted root of root.json" in ran.err
    ran = check(call, "--issuer", "https://accounts.example")
    assert (ran.code, "OIDCIssuerV2 does not match" in ran.err) == (4, True)

    good, payload, now = signers.bundle(), signers.payload(), clock()
    late = Sigstore(certified_at=now - 7200, logged_at=now).sign(payload)
    foreign = Sigstore(certified_at=now, logged_at=now, label="another instance").sign(payload)
    other = Sigstore(certified_at=now, logged_at=now).sign(payload | {"predicateType": "x"})
    entries = other["verificationMaterial"]["tlogEntries"]  # type: ignore[index,call-overload]
    swapped = good | {
        "verificationMaterial": good["verificationMaterial"] | {"tlogEntries": entries}
    }
    for document, said in (
        (late, "and its certificate is of"),
        (foreign, "none of the trusted root's"),
        (swapped, "payload hash does not match"),
        ({}, "did not sign this"),
        ([], "did not sign this"),
    ):
        signers.write(document)
        ran = check(call)
        assert (ran.code, said in ran.err) == (4, True), ran.err


@pytest.mark.usefixtures("signers")
def test_an_expired_result_is_not_relied_on(call: Run) -> None:
    ran = check(call, at="2026-06-22T12:00:01Z")
    assert (ran.code, "expired at 2026-06-22" in ran.err) == (3, True)


@pytest.mark.usefixtures("signers")
def test_an_author_whom_nobody_named_is_never_relied_on(call: Run) -> None:
    ran = check(call, "--check", identity="")
    assert ran.code == 3
    assert "this evidence gives this very report" in ran.err
    assert f"{IDENTITY} signed it" in ran.err
    assert "nobody said whom to expect as its author, so it is not relied on" in ran.err


@pytest.mark.usefixtures("signers")
def test_the_public_root_does_not_take_the_labs(call: Run) -> None:
    words = ("report", "signed.json", APP_ID, *ASKED, "--at", SOON)
    ran = call(*words, "--identity", IDENTITY)
    assert (ran.code, "none of the trusted root's" in ran.err) == (4, True)
    for more in (("--trusted-root", "root.json"), ("--key", "k", "--trusted-root", "root.json")):
        assert call(*words, *more).code == 2


def test_a_root_has_no_variable(
    signers: Signers, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIFY_TRUSTED_ROOT", str(signers.folder / "root.json"))
    ran = call("report", "signed.json", APP_ID, *ASKED, "--at", SOON, "--identity", IDENTITY)
    assert ran.code != 0


def test_the_lines_of_the_document(
    serving: Callable[[Lie], Signers],
    call: Run,
    httpserver: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """docs/ci.md, with the demo's evidence, and the lab in place of the public instance."""
    folder = serving(Lie.NONE).folder
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "bearer")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", httpserver.url_for("/token"))
    text = (ROOT / "docs" / "ci.md").read_text().split("## Signed results")[1].split("```")[3]
    sign, report = (line.split()[1:] for line in text.replace("\\\n", "").strip().splitlines())
    (folder / "s.json").rename(folder / "app.intoto.json")
    (folder / "policy.toml").write_text('name = "release"\nextends = "baseline"\n')
    made = ("--report", "statement=app.intoto.json", "-q")
    assert call("app", APP_ID, *ASKED, "--at", THEN, "--policy", "policy.toml", *made).code == 0
    assert call(*sign, "--trust-config", "config.json").code == 0
    given = {"APP_ID": APP_ID, "evidence": ASKED[1], report[-1]: IDENTITY}
    words = [given.get(word, word) for word in report]
    more = ("--trusted-root", "root.json", "--at", SOON)
    ran = call(*words, *ASKED[2:], *more)
    assert ran.code == 0, ran.err
