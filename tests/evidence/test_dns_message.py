"""DNS answers, written by another codec: what counts, and what is refused."""

import dnslib
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from verifier.errors import EvidenceError
from verifier.evidence.dns_message import (
    Caa,
    DnsAnswer,
    ancestors,
    encode_query,
    issuers,
    parse_answer,
    relevant_set,
)
from verifier.evidence.domain import (
    address_names,
    app_addresses,
    is_account_of,
    questions,
    standing_questions,
)
from verifier.evidence.endpoint import parse_endpoint

HOST = "app.example.org"
APP = "0123456789abcdef0123456789abcdef01234567"
ACCOUNT = "https://acme.example/acct/1"


def answered(kind: str, *zone: str, name: str = HOST, **header: int) -> bytes:
    """An answer with the records of zone lines."""
    reply = dnslib.DNSRecord(
        dnslib.DNSHeader(id=0, qr=1, rd=1, ra=1),
        q=dnslib.DNSQuestion(name, dnslib.QTYPE.reverse[kind]),
    )
    for field, value in header.items():
        setattr(reply.header, field, value)
    for line in zone:
        reply.add_answer(*dnslib.RR.fromZone(line))
    return bytes(reply.pack())


def read(kind: str, *zone: str) -> DnsAnswer:
    return parse_answer(answered(kind, *zone), HOST, kind, "answer")


def test_a_query_is_the_same_bytes_each_time() -> None:
    raw = encode_query(HOST, "CAA")
    assert raw == encode_query(HOST, "CAA")
    asked = dnslib.DNSRecord.parse(raw)
    assert (str(asked.q.qname), dnslib.QTYPE[asked.q.qtype]) == (f"{HOST}.", "CAA")
    assert (asked.header.id, asked.header.rd) == (0, 1)


@pytest.mark.parametrize("name", ["a..b", "x" * 64, ".".join(["abc"] * 70)])
def test_what_is_no_name_is_not_asked_for(name: str) -> None:
    with pytest.raises(EvidenceError):
        encode_query(name, "TXT")


def test_texts_in_any_order() -> None:
    lines = [f'{HOST} 60 TXT "{APP}:443"', f'{HOST} 60 TXT "v=spf1" "-all"']
    assert read("TXT", *lines) == read("TXT", *reversed(lines))
    assert read("TXT", lines[1]).texts == ((b"v=spf1", b"-all"),)
    assert app_addresses(read("TXT", lines[0])) == (APP,)
    assert app_addresses(read("TXT", lines[1])) == ("",)


def test_caa_properties() -> None:
    found = read("CAA", f'{HOST} 60 CAA 128 issueWild "CA.example; AccountURI={ACCOUNT}"').caa
    assert found == (Caa("issuewild", f"CA.example; AccountURI={ACCOUNT}", critical=True),)
    assert found[0].issuer == "ca.example"
    assert found[0].parameters == {"accounturi": ACCOUNT}


@pytest.mark.parametrize(
    "value",
    ["ca.example; account uri=x", "ca.example; a=1; a=2", "ca.example; =x", "ca.example; a"],
)
def test_malformed_parameters_let_nobody_issue(value: str) -> None:
    assert Caa("issue", value, critical=False).parameters is None
    assert issuers((Caa("issue", value, critical=False),), wildcard=False) == ()


def test_an_alias_is_followed_and_not_climbed() -> None:
    alias = f"{HOST} 60 CNAME _.gw.example.net"
    found = read("CAA", alias, '_.gw.example.net 60 CAA 0 issue "ca.example"')
    assert found.aliases == (HOST, "_.gw.example.net")
    assert len(found.caa) == 1
    assert read("CAA", alias, 'gw.example.net 60 CAA 0 issue "ca.example"').caa == ()
    assert read("CNAME", alias).aliases == (HOST, "_.gw.example.net")


def test_records_of_foreign_names_do_not_count() -> None:
    assert read("TXT", f'other.example.org 60 TXT "{APP}:443"').texts == ()
    assert read("CAA", 'example.org 60 CAA 0 issue "ca.example"').caa == ()


@pytest.mark.parametrize(
    "zone",
    [
        (f"{HOST} 60 CNAME {HOST}",),
        (f"{HOST} 60 CNAME a.example", f"a.example 60 CNAME {HOST}"),
        (f"{HOST} 60 CNAME a.example", f"{HOST} 60 CNAME b.example"),
        (
            f"{HOST} 60 CNAME a0.example",
            *(f"a{n}.example 60 CNAME a{n + 1}.example" for n in range(20)),
        ),
    ],
)
def test_aliases_that_lead_nowhere_are_refused(zone: tuple[str, ...]) -> None:
    with pytest.raises(EvidenceError, match="aliases"):
        read("TXT", *zone)


@pytest.mark.parametrize(
    "raw",
    [
        answered("TXT", rcode=2),
        answered("TXT", tc=1),
        answered("TXT", qr=0),
        answered("CAA"),
        answered("TXT", name="other.example.org"),
        answered("TXT", f'{HOST} 60 TXT "x"')[:-3],
        answered("TXT") + b"\0",
        b"",
        bytes(70_000),
    ],
    ids=["failed", "cut", "query", "type", "name", "short", "long", "empty", "large"],
)
def test_what_answers_nothing_is_refused(raw: bytes) -> None:
    with pytest.raises(EvidenceError):
        parse_answer(raw, HOST, "TXT", "answer")


def test_a_name_that_does_not_exist() -> None:
    found = parse_answer(answered("CAA", rcode=3), HOST, "CAA", "answer")
    assert not found.exists
    assert found.caa == ()


@settings(max_examples=200)
@given(place=st.integers(0, 120), junk=st.binary(min_size=1, max_size=4), cut=st.booleans())
@example(place=12, junk=b"\xc0\x0c", cut=False)
def test_a_damaged_answer_is_read_or_refused(*, place: int, junk: bytes, cut: bool) -> None:
    raw = answered("CAA", f"{HOST} 60 CNAME a.example", 'a.example 60 CAA 0 issue "ca.example"')
    place %= len(raw)
    damaged = raw[:place] + junk + (b"" if cut else raw[place + len(junk) :])
    try:
        found = parse_answer(damaged, HOST, "CAA", "answer")
    except EvidenceError:
        return
    assert found.aliases[0] == HOST


def sets(**records: str) -> list[DnsAnswer]:
    """A CAA set for each ancestor: the CA that `issue` names at that place, or none."""
    found = []
    for place, name in enumerate(ancestors(HOST)):
        named = records.get(f"at{place}")
        own = (Caa("issue", named, critical=False),) if named else ()
        found.append(DnsAnswer(name, "CAA", exists=True, aliases=(name,), caa=own))
    return found


def test_the_closest_ancestor_counts() -> None:
    assert ancestors(HOST) == (HOST, "example.org", "org")
    assert relevant_set(HOST, sets(at1="near.example", at2="far.example")) == (
        Caa("issue", "near.example", critical=False),
    )
    assert relevant_set(HOST, sets()) == ()
    assert relevant_set(HOST, sets()[:1]) is None
    assert relevant_set(HOST, sets(at0="own.example")[:1]) is not None


def test_wildcards_have_properties_of_their_own() -> None:
    issue, wild = (Caa(tag, "ca.example", critical=False) for tag in ("issue", "issuewild"))
    nobody = Caa("issuewild", ";", critical=False)
    report = Caa("iodef", "mailto:a@example.org", critical=False)
    assert issuers((issue, wild), wildcard=False) == (issue,)
    assert issuers((issue, wild), wildcard=True) == (wild,)
    assert issuers((issue,), wildcard=True) == (issue,)
    assert issuers((issue, nobody), wildcard=True) == ()
    assert issuers((wild,), wildcard=False) is None
    assert issuers((report,), wildcard=False) is None


def test_what_is_asked_of_which_names() -> None:
    own = parse_endpoint(HOST)
    assert own is not None
    assert {kind for _, kind in questions(own)} == {"CAA", "TXT", "CNAME"}
    assert [name for name, _ in standing_questions(HOST)] == [
        "_validation-persist.app.example.org",
        "_validation-persist.example.org",
    ]
    assert address_names(HOST)[2] == "_dstack-app-address-wildcard.example.org"
    for text, kinds in (
        (f"{APP}-443.gw.example.org", {"CAA", "TXT"}),
        (f"{APP}-443s.gw.example.org", set()),
        ("10.0.0.1", set()),
        ("app.localhost", set()),
        ("[::1]", set()),
    ):
        endpoint = parse_endpoint(text)
        assert endpoint is not None
        assert {kind for _, kind in questions(endpoint)} == kinds


@pytest.mark.parametrize(
    ("uri", "issuer", "own"),
    [
        ("https://acme-v02.api.letsencrypt.org/acme/acct/1", "letsencrypt.org", True),
        ("https://acme.zerossl.com/v2/DV90/account/abc", "sectigo.com", True),
        ("https://acme.zerossl.com/v2/DV90/account/abc", "letsencrypt.org", False),
        ("https://acme.notzerossl.com/v2/DV90/account/abc", "sectigo.com", False),
        ("https://sectigo.com.attacker.example/1", "sectigo.com", False),
        ("https://[", "sectigo.com", False),
        ("", "", False),
    ],
)
def test_at_which_ca_an_account_is(uri: str, issuer: str, own: bool) -> None:  # noqa: FBT001
    assert is_account_of(uri, issuer) is own
