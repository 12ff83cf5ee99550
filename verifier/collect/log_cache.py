"""Answers to `eth_getLogs` from earlier audits, in one SQLite file.

    streams   one filter at one endpoint, and its tip (seam_block, seam_hash): the last block that
              was scanned, and its hash
    answers   the ranges that were answered, each with the sha256 of its answer
    bodies    the answers as they were received, each once: nearly all of them are the same

Only ranges up to a finalized block are stored. What the chain is now is compared at the tip, whose
hash commits to every block before it. An endpoint is named without what may be a key.

The cache is a convenience. One that is damaged, locked, of another program or of a later version
is left alone, and the audit goes on without it.
"""

import hashlib
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, Self, TypeVar

from msgspec import Struct

from verifier.errors import CollectError, EvidenceError
from verifier.evidence.chain.log_scan import MAX_BLOCK, LogFilter, LogScan, RangeAnswer
from verifier.model.identifiers import LATEST_TIME
from verifier.patterns import pattern

APPLICATION_ID: Final = int.from_bytes(b"dsta", "big")
SCHEMA_VERSION: Final = 1
_BATCH: Final = 32
_CLOSING_SECONDS: Final = 0.3
_SCHEMA: Final = (
    """CREATE TABLE streams (
        id INTEGER PRIMARY KEY, filter TEXT NOT NULL, endpoint TEXT NOT NULL,
        seam_block INTEGER NOT NULL, seam_hash TEXT NOT NULL, UNIQUE (filter, endpoint))""",
    "CREATE TABLE bodies (sha256 BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID",
    """CREATE TABLE answers (
        stream INTEGER NOT NULL REFERENCES streams (id), first INTEGER NOT NULL,
        last INTEGER NOT NULL, at INTEGER NOT NULL, sha256 BLOB NOT NULL,
        PRIMARY KEY (stream, first, last)) WITHOUT ROWID""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
_HASH: Final = pattern(r"[0-9a-f]{64}", re.ASCII)
T = TypeVar("T")


class ScanTip(Struct, frozen=True):
    """The last block up to which a stream was scanned, and its hash (hex without 0x)."""

    block: int
    hash: str


class LogCache:
    """The cache; a context manager, safe to use from several threads. It never raises.

    `problem` says why the cache is not used, and what to do; "" while it is. From then on it
    holds nothing.
    """

    def __init__(self, path: Path, *, busy_seconds: float = 5.0) -> None:
        self.problem = ""
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            self._give_up(str(error))
            return
        self._try(_prepare, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        # After an interruption, do not wait for a thread that waits for another process.
        if self._lock.acquire(timeout=_CLOSING_SECONDS):
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            self._lock.release()

    def tip(self, wanted: LogFilter, endpoint: str) -> ScanTip | None:
        """Up to where a filter was scanned at an endpoint; None if never."""

        def select(connection: sqlite3.Connection) -> ScanTip | None:
            row = connection.execute(
                "SELECT seam_block, seam_hash FROM streams WHERE filter = ? AND endpoint = ?",
                (wanted.text, endpoint),
            ).fetchone()
            return None if row is None else ScanTip(*row)

        return self._try(select, None)

    def check(self, wanted: LogFilter, endpoint: str) -> str:
        """What is wrong with a stream's cells, "" for nothing: any program may have written them.

        Cells that are damaged are dropped.
        """

        def look(connection: sqlite3.Connection) -> str:
            stream = _stream(connection, wanted, endpoint)
            row = connection.execute(
                "SELECT seam_block, seam_hash FROM streams WHERE id = ?", (stream,)
            ).fetchone()
            if row is not None and not _is_tip(*row):
                return "the block up to which they reach is damaged"
            rows = connection.execute(
                "SELECT first, last, at, sha256 FROM answers WHERE stream = ?", (stream,)
            ).fetchall()
            damaged = sum(not _is_answer(*row) for row in rows)
            return f"{damaged} of {len(rows)} are damaged" if damaged else ""

        problem = self._try(look, "")
        if problem:
            self.discard(wanted, endpoint)
        return problem

    def set_tip(self, wanted: LogFilter, endpoint: str, tip: ScanTip) -> None:
        """Note the block up to which answers will be stored; a higher one that is noted stays."""

        def upsert(connection: sqlite3.Connection) -> None:
            connection.execute(
                """INSERT INTO streams (filter, endpoint, seam_block, seam_hash)
                VALUES (?, ?, ?, ?) ON CONFLICT (filter, endpoint) DO UPDATE
                SET seam_block = excluded.seam_block, seam_hash = excluded.seam_hash
                WHERE excluded.seam_block > seam_block""",
                (wanted.text, endpoint, tip.block, tip.hash),
            )

        self._try(upsert, None)

    def discard(self, wanted: LogFilter, endpoint: str) -> None:
        """Drop everything about a filter at an endpoint."""

        def delete(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                stream = _stream(connection, wanted, endpoint)
                connection.execute("DELETE FROM answers WHERE stream = ?", (stream,))
                connection.execute("DELETE FROM streams WHERE id = ?", (stream,))
                connection.execute(
                    "DELETE FROM bodies WHERE sha256 NOT IN (SELECT sha256 FROM answers)"
                )

        self._try(delete, None)

    def replace(
        self,
        wanted: LogFilter,
        endpoint: str,
        spans: Iterable[tuple[int, int]],
        answers: Iterable[RangeAnswer],
    ) -> None:
        """Drop what is kept of these inclusive ranges, and keep these answers about them."""

        def delete(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                stream = _stream(connection, wanted, endpoint)
                connection.executemany(
                    "DELETE FROM answers WHERE stream = ? AND first <= ? AND last >= ?",
                    [(stream, last, first) for first, last in spans],
                )

        self._try(delete, None)
        self.store(wanted, endpoint, answers)

    def read(
        self, wanted: LogFilter, endpoint: str, span: tuple[int, int]
    ) -> tuple[RangeAnswer, ...]:
        """Answers that lie within an inclusive range, ascending, without overlap, as cached.

        An answer whose bytes are not those that were stored is left out.
        """

        def select(connection: sqlite3.Connection) -> tuple[RangeAnswer, ...]:
            rows = connection.execute(
                "SELECT first, last, at, sha256 FROM answers WHERE stream = ?"
                " AND first >= ? AND last <= ? ORDER BY first, last DESC",
                (_stream(connection, wanted, endpoint), *span),
            ).fetchall()
            bodies = _bodies(connection, {row[3] for row in rows})
            return tuple(_without_overlap(rows, bodies))

        return self._try(select, ())

    def store(self, wanted: LogFilter, endpoint: str, answers: Iterable[RangeAnswer]) -> None:
        """Keep answers of a stream whose tip is set: all of its blocks are finalized."""
        rows = [
            (hashlib.sha256(item.body).digest(), item.body, item.first, item.last, item.at)
            for item in answers
        ]

        def insert(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(
                    "INSERT OR REPLACE INTO bodies VALUES (?, ?)",
                    {digest: (digest, body) for digest, body, *_ in rows}.values(),
                )
                connection.executemany(
                    "INSERT OR REPLACE INTO answers (stream, first, last, at, sha256)"
                    " SELECT id, ?, ?, ?, ? FROM streams"
                    " WHERE filter = ? AND endpoint = ? AND seam_block >= ?",
                    [
                        (first, last, at, digest, wanted.text, endpoint, last)
                        for digest, _, first, last, at in rows
                    ],
                )

        self._try(insert, None)

    def _try(self, action: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        with self._lock:
            if self._connection is None:
                return otherwise
            try:
                return action(self._connection)
            except (sqlite3.Error, _UnusableError) as error:
                with closing(self._connection):
                    self._connection = None
                self._give_up(str(error))
                return otherwise

    def _give_up(self, reason: str) -> None:
        self.problem = (
            f"the log cache {self._path} is not used: {reason}; everything is asked for anew."
            " `verify cache clear` removes it"
        )


class CachedStream:
    """The cache as one scan uses it; without a cache, or with one that fails, it holds nothing.

    `warning` says why what was cached is not used.
    """

    def __init__(
        self, cache: LogCache | None, wanted: LogFilter, endpoint: str, span: tuple[int, int]
    ) -> None:
        self.warning = ""
        self._cache = cache
        self._wanted = wanted
        self._endpoint = endpoint
        self._span = span
        self._batch: list[RangeAnswer] = []

    @property
    def keeps(self) -> bool:
        """Whether what is answered is there for the next audit."""
        return self._cache is not None and not self._cache.problem

    def recall(self, block_hash: Callable[[int], str]) -> tuple[RangeAnswer, ...]:
        """What earlier audits were answered, if it belongs to the chain as it is now.

        `block_hash` gives the hash (hex) of a block, or raises CollectError. What is kept
        afterwards belongs to the chain that ends with the last block's hash as it is now.
        """
        cache, last = self._cache, self._span[1]
        if cache is None or cache.problem:
            return ()
        try:
            damage = cache.check(self._wanted, self._endpoint)
            if damage:
                self._forget(cache, damage)
            tip = cache.tip(self._wanted, self._endpoint)
            if tip is not None and not self._continues(tip, block_hash):
                self._forget(cache, f"block {tip.block} has another hash than before, or none")
            kept = self._read(cache)
            if tip is None or tip.block < last or self.warning:
                now = ScanTip(last, _plain(block_hash(last)))
                cache.set_tip(self._wanted, self._endpoint, now)
        except CollectError:
            self._cache = None
            self.warning = (
                f"{self._endpoint}: the cache is not used: it gives no block hash to compare with"
            )
            return ()
        return kept

    def _continues(self, tip: ScanTip, block_hash: Callable[[int], str]) -> bool:
        """Whether the chain still has the block at a tip. A block above those that are asked for
        now may be one that never was; one below them is asked for again next time.

        Raises CollectError when the endpoint does not tell.
        """
        try:
            return _plain(block_hash(tip.block)) == tip.hash
        except CollectError:
            if tip.block <= self._span[1]:
                raise
            return False

    def keep(self, answer: RangeAnswer) -> None:
        """Put an answer into the cache, sooner or later."""
        self._batch.append(answer)
        if len(self._batch) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Put what waits into the cache."""
        if self._cache is not None and self._batch:
            self._cache.store(self._wanted, self._endpoint, self._batch)
        self._batch = []

    def _read(self, cache: LogCache) -> tuple[RangeAnswer, ...]:
        kept = cache.read(self._wanted, self._endpoint, self._span)
        try:
            LogScan(filter=self._wanted, answers=kept).logs("cached answers")
        except EvidenceError as error:
            self._forget(cache, error.message)
            return ()
        return kept

    def _forget(self, cache: LogCache, why: str) -> None:
        cache.discard(self._wanted, self._endpoint)
        self.warning = f"{self._endpoint}: cached answers are dropped and asked for again: {why}"


class _UnusableError(Exception):
    """A database that is not this cache."""


class _ForeignError(_UnusableError):
    """The database of another program."""


def _prepare(connection: sqlite3.Connection) -> None:
    """Recognise the cache, or make it in an empty file. What is in the file is read first."""
    if not _is_prepared(connection):
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            if not _is_prepared(connection):
                for statement in _SCHEMA:
                    connection.execute(statement)
    # The switch fails at once while another process reads; the old mode is slower, not wrong.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _is_prepared(connection: sqlite3.Connection) -> bool:
    """Whether this is the cache; False for an empty file."""
    application, version, tables = (
        connection.execute(query).fetchone()[0]
        for query in (
            "PRAGMA application_id",
            "PRAGMA user_version",
            "SELECT count(*) FROM sqlite_master",
        )
    )
    if (application, version, tables) == (0, 0, 0):
        return False
    if application != APPLICATION_ID:
        raise _ForeignError("it is the database of another program")
    if version != SCHEMA_VERSION:
        raise _UnusableError(f"its version is {version}, this program knows {SCHEMA_VERSION}")
    return True


def _stream(connection: sqlite3.Connection, wanted: LogFilter, endpoint: str) -> int | None:
    row = connection.execute(
        "SELECT id FROM streams WHERE filter = ? AND endpoint = ?", (wanted.text, endpoint)
    ).fetchone()
    return None if row is None else row[0]


def _bodies(connection: sqlite3.Connection, digests: set[bytes]) -> dict[bytes, bytes]:
    """Stored answers by their sha256, those alone that still have it."""
    found = {}
    for digest in digests:
        row = connection.execute("SELECT body FROM bodies WHERE sha256 = ?", (digest,)).fetchone()
        body = row[0] if row else None
        if isinstance(body, bytes) and hashlib.sha256(body).digest() == digest:
            found[digest] = body
    return found


def _without_overlap(
    rows: Iterable[tuple[int, int, int, bytes]], bodies: Mapping[bytes, bytes]
) -> Iterator[RangeAnswer]:
    """Rows as answers; two audits at once may have divided the same blocks differently."""
    expected = 0
    for first, last, at, digest in rows:
        if first >= expected and digest in bodies:
            yield RangeAnswer(first=first, last=last, at=at, cached=True, body=bodies[digest])
            expected = last + 1


def default_path() -> Path:
    """Where this user's cache stands."""
    from platformdirs import user_cache_path  # noqa: PLC0415 - only scans need it

    return user_cache_path("dstack-audit", appauthor=False) / "logs.sqlite3"


class Kept(Struct, frozen=True, kw_only=True):
    """What is kept of one filter at one endpoint: how many answers about how many blocks, and up to
    which block."""

    wanted: str
    endpoint: str
    answers: int
    blocks: int
    last: int


def contents(path: Path) -> tuple[Kept, ...]:
    """What a cache holds. Raises EvidenceError when it is none, or cannot be read."""
    if not path.exists():
        return ()
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as found:
            if not _is_prepared(found):
                return ()
            rows = found.execute(
                "SELECT filter, endpoint, count(answers.stream), sum(last - first + 1), seam_block"
                " FROM streams LEFT JOIN answers ON answers.stream = streams.id"
                " GROUP BY streams.id ORDER BY filter, endpoint"
            ).fetchall()
    except (sqlite3.Error, _UnusableError) as error:
        raise EvidenceError(
            f"{path}: the log cache cannot be read: {error}", hint="`verify cache clear` removes it"
        ) from error
    return tuple(
        Kept(wanted=str(a), endpoint=str(b), answers=c, blocks=d or 0, last=e)
        for a, b, c, d, e in rows
    )


def clear(path: Path) -> bool:
    """Remove a cache; whether there was one. Raises EvidenceError where it cannot be removed, and
    for the database of another program."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as found:
            _is_prepared(found)
    except _ForeignError as error:
        raise EvidenceError(f"{path}: {error}", hint="remove it yourself") from error
    except (sqlite3.Error, _UnusableError):
        pass  # What cannot be read is removed all the same.
    there = path.exists()
    try:
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            path.with_name(name).unlink(missing_ok=True)
    except OSError as error:
        raise EvidenceError(f"{path}: cannot remove it: {error.strerror}") from error
    return there


def _is_tip(block: object, digest: object) -> bool:
    known = isinstance(digest, str) and _HASH.fullmatch(digest) is not None
    return known and isinstance(block, int) and 0 <= block <= MAX_BLOCK


def _is_answer(first: object, last: object, at: object, digest: object) -> bool:
    numbers = isinstance(first, int) and isinstance(last, int) and isinstance(at, int)
    if not numbers or not isinstance(digest, bytes):
        return False
    return 0 <= first <= last <= MAX_BLOCK and 0 <= at <= LATEST_TIME  # type: ignore[operator]


def _plain(digest: str) -> str:
    return digest.lower().removeprefix("0x")
