"""Sources that gave nothing, in one line."""

from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.unanswered import why_unanswered, why_unreachable


def test_equal_reasons_are_said_once_and_counted() -> None:
    hosts = [f"h{n}.example" for n in range(3)]
    urls = [f"https://{host}/x" for host in hosts]
    failures = [
        (url, f"{url}: the host name {host} does not resolve")
        for url, host in zip(urls, hosts, strict=True)
    ]
    failures += [("https://slow.example/", "https://slow.example/: no complete answer")]
    said = "the host name does not resolve (3 times); no complete answer"
    assert why_unanswered(failures) == said
    others = [(f"https://o{n}.example/", f"HTTP {500 + n}") for n in range(3)]
    assert why_unanswered([*failures, *others]).endswith("; and 3 other failures")


def test_a_source_that_is_no_url_is_no_crash() -> None:
    assert why_unanswered([("http://[", "broken")]) == "broken"


def test_unreachable_only_where_no_guest_answered() -> None:
    builder = BundleBuilder()
    assert why_unreachable(builder.build()) == ""
    for n in range(2):
        url = f"https://h{n}.example/prpc/Info"
        builder.add_failure(Kind.INFO, source=url, collected_at=0, error="timeout")
    said = "none of the 2 sources asked for the guest's evidence gave any: timeout (2 times)"
    assert why_unreachable(builder.build()) == said
    builder.add(Kind.PAGE, b"<html>", source="https://h3.example/", collected_at=0)
    assert why_unreachable(builder.build()) == ""
