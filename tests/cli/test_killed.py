"""Whatever ends the program while it writes: what is there is the old or the new, or says that it
is not whole, and the next run works. So too where the disk is full."""

import hashlib
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.killed import each_kill
from tests.watch.reports import NOW, fill, report
from tests.watch.test_fleet import Inline
from tests.worlds.audited import Audited, audit
from verifier.cli.output import save_bundle, write
from verifier.errors import EvidenceError, UsageError
from verifier.evidence import bundle as bundles
from verifier.lab.knobs import Knobs
from verifier.policy.policy import load_policy
from verifier.report.site.pages import Site
from verifier.watch.fleet.job import Asked, Job
from verifier.watch.fleet.results import Results
from verifier.watch.publish.pages import Page, Rendered, render_page
from verifier.watch.publish.site import publish

resource = pytest.importorskip("resource")
OLD, NEW = b"old\n" * 1_000, b"new\n" * 1_200
SITE = Site(title="Apps", published_at=NOW)


@pytest.fixture(scope="module")
def audited() -> Audited:
    return audit(Knobs())


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """What there was before."""
    folder = tmp_path / "begun"
    folder.mkdir()
    return folder


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """Where there is what is left."""
    return tmp_path / "left"


@pytest.mark.parametrize("name", ["kept", "kept.tar"])
def test_a_bundle(begun: Path, left: Path, name: str) -> None:
    builder = bundles.BundleBuilder()
    for number in range(3):
        builder.add(bundles.Kind.PAGE, bytes([number]), source=str(number), collected_at=NOW)
    bundle = builder.build()

    def saved(folder: Path) -> None:
        assert save_bundle(bundle, folder / "below" / name) is None

    steps = 0
    for steps, folder in enumerate(each_kill(begun, left, saved), 1):  # noqa: B007 - the last
        kept = folder / "below" / name
        if not kept.exists():
            for part in folder.rglob(".*.part"):
                with suppress(EvidenceError):
                    assert bundles.load(part).digest == bundle.digest
            saved(folder)
            assert list(kept.parent.iterdir()) == [kept]
        assert bundles.load(kept).digest == bundle.digest
    assert steps >= 3


@pytest.mark.parametrize("before", [b"", OLD], ids=["new", "in another's place"])
def test_a_report(begun: Path, left: Path, before: bytes) -> None:
    if before:
        (begun / "r.json").write_bytes(before)
        (begun / "r.json").chmod(0o640)

    def written(folder: Path) -> None:
        write(NEW, folder / "r.json", "the report")

    steps = 0
    for steps, folder in enumerate(each_kill(begun, left, written), 1):  # noqa: B007 - the last
        found = (folder / "r.json").read_bytes() if (folder / "r.json").exists() else b""
        assert found in (before, NEW)
        written(folder)
        assert (folder / "r.json").read_bytes() == NEW
        assert [item.name for item in folder.iterdir()] == ["r.json"]
        assert not before or (folder / "r.json").stat().st_mode & 0o777 == 0o640
    assert steps >= 2


def render(wanted: tuple[Page, ...]) -> Iterator[Rendered]:
    return (render_page(None, page) for page in wanted)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a site but the lock."""
    files = (item for item in folder.rglob("*") if item.is_file() and item.name != ".publish.lock")
    return {str(item.relative_to(folder)): item.read_bytes() for item in files}


def test_a_site(tmp_path: Path, begun: Path, left: Path) -> None:
    reports = fill(tmp_path / "reports")
    publish(reports, begun, SITE, render)
    before = contents(begun)
    (reports / "new.json").write_bytes(report(evaluated_at="2026-06-17T12:00:00Z"))
    publish(reports, tmp_path / "cold", SITE, render)
    after = contents(tmp_path / "cold")

    def published(folder: Path) -> None:
        publish(reports, folder, SITE, render)

    steps = 0
    for steps, folder in enumerate(each_kill(begun, left, published, every=9), 1):  # noqa: B007 - the last
        for name, raw in contents(folder).items():
            assert name.startswith(".publish/") or raw in (before.get(name), after.get(name))
        published(folder)
        assert contents(folder) == after
    assert steps > 3


def test_the_results_of_a_fleet(begun: Path, left: Path, audited: Audited) -> None:
    bundles.save(audited.bundle, begun / "kept.tar")
    asked = Asked(question=audited.question, policy=load_policy("baseline"))
    texts = [f"{place}.tar" for place in range(3)]
    jobs = [Job(text=text, name=text, path=str(begun / "kept.tar")) for text in texts]
    outcomes = list(Inline(asked).run(iter(jobs)))

    def gathered(folder: Path) -> None:
        with Results(folder / "fleet.jsonl", asked, resume=True) as results:
            for outcome in outcomes:
                if not results.hold(jobs[outcomes.index(outcome)]):
                    results.add(outcome.result)
            results.finish(texts)

    gathered(begun)
    whole = (begun / "fleet.jsonl").read_bytes()
    assert whole.count(b"\n") == 4
    for end in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        (begun / "fleet.jsonl").write_bytes(whole[:end])
        gathered(begun)
        assert (begun / "fleet.jsonl").read_bytes() == whole
    for folder in each_kill(begun, left, gathered):
        assert (folder / "fleet.jsonl").read_bytes() == whole
        gathered(folder)
        assert (folder / "fleet.jsonl").read_bytes() == whole


@pytest.fixture
def full_disk() -> Iterator[Callable[[], None]]:
    """Lets no file grow over 2,000 bytes any more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_keeps_the_report_that_was_there(
    begun: Path, full_disk: Callable[[], None], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    (begun / "r.json").write_bytes(OLD)
    full_disk()
    with pytest.raises(UsageError, match="cannot write the report"):
        write(NEW, begun / "r.json", "the report")
    assert (begun / "r.json").read_bytes() == OLD
    assert list(begun.iterdir()) == [begun / "r.json"]
    assert capsysbinary.readouterr().out == NEW


def test_a_full_disk_keeps_the_site_that_was_there(
    tmp_path: Path, begun: Path, full_disk: Callable[[], None]
) -> None:
    reports = fill(tmp_path / "reports")
    publish(reports, begun, SITE, render)
    before = contents(begun)
    (reports / "new.json").write_bytes(report(evaluated_at="2026-06-17T12:00:00Z"))
    full_disk()
    with pytest.raises((UsageError, OSError)):
        publish(reports, begun, SITE, render)
    found = contents(begun)
    assert {name: found[name] for name in before} == before


def test_a_report_is_not_written_through_a_link(tmp_path: Path) -> None:
    """Its bytes are known beforehand, and so is the name that they are first written under."""
    theirs, report_of = tmp_path / "theirs", tmp_path / "out" / "report.json"
    theirs.write_bytes(OLD)
    report_of.parent.mkdir()
    write(NEW, report_of, "the report")
    digest = hashlib.sha256(NEW).hexdigest()[:16]
    (report_of.parent / f".{digest}.part").symlink_to(theirs)
    write(NEW, report_of, "the report")
    assert (theirs.read_bytes(), report_of.read_bytes()) == (OLD, NEW)
    assert list(report_of.parent.iterdir()) == [report_of]
