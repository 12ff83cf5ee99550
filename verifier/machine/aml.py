"""Encoding of ACPI Machine Language (ACPI Specification 6.5, chapter 20), as QEMU writes it.

Every function gives the bytes of one term. Where QEMU has a choice it takes the shortest form of
an integer, and the null target of an operator whose result is not stored.
"""

from collections.abc import Iterable
from typing import Final

NOTHING: Final = b"\x00"
"""The null name: the target of an operator that stores nothing. Also the byte of `Zero`."""

ZERO: Final = b"\x00"
ONE: Final = b"\x01"
DEBUG: Final = b"\x5b\x31"
BREAK: Final = b"\xa5"

BYTE_ACCESS: Final = 1
DWORD_ACCESS: Final = 3
PRESERVE: Final = 0 << 5
WRITE_AS_ZEROS: Final = 2 << 5
SYSTEM_IO: Final = 1
PCI_CONFIG: Final = 2

_SEGMENT: Final = 4


def local(index: int) -> bytes:
    """Local variable 0-7 of a method."""
    return bytes((0x60 + index,))


def arg(index: int) -> bytes:
    """Argument 0-6 of a method."""
    return bytes((0x68 + index,))


def integer(value: int) -> bytes:
    """An integer in its shortest form: an opcode for 0 and 1, else a prefix and 1, 2, 4 or 8
    bytes."""
    if value <= 1:
        return bytes((value,))
    for prefix, size in ((0x0A, 1), (0x0B, 2), (0x0C, 4)):
        if value < 1 << 8 * size:
            return bytes((prefix,)) + value.to_bytes(size, "little")
    return b"\x0e" + value.to_bytes(8, "little")


def string(text: str) -> bytes:
    """A string: its ASCII characters and a NUL."""
    return b"\x0d" + text.encode("ascii") + b"\0"


def path(text: str) -> bytes:
    r"""A name: segments of four characters, padded with underscores, joined by dots; `\` at the
    start is the root, `^` the parent. The root alone is the root and a null name."""
    prefix = text[: len(text) - len(text.lstrip("\\^"))]
    rest = text[len(prefix) :]
    segments = [part.ljust(_SEGMENT, "_") for part in rest.split(".")] if rest else []
    count = {0: b"\x00", 1: b"", 2: b"\x2e"}.get(len(segments))
    if count is None:
        count = bytes((0x2F, len(segments)))
    return prefix.encode("ascii") + count + "".join(segments).encode("ascii")


def length(value: int, *, counts_itself: bool = True) -> bytes:
    """A PkgLength: one byte below 64, else the low four bits in a first byte that says how many
    follow. That of a package counts its own bytes, that of a field's bits does not."""
    for size in range(1, 5):
        total = value + size if counts_itself else value
        if size == 1 and total < 1 << 6:
            return bytes((total,))
        if size > 1 and total < 1 << 4 + 8 * (size - 1):
            first = (size - 1) << 6 | total & 0x0F
            return bytes((first,)) + (total >> 4).to_bytes(size - 1, "little")
    raise ValueError("a package of AML is shorter than 256 MiB")


def _package(opcode: bytes, *body: bytes) -> bytes:
    content = b"".join(body)
    return opcode + length(len(content)) + content


def scope(name: str, *terms: bytes) -> bytes:
    """`Scope (name) { terms }`."""
    return _package(b"\x10", path(name), *terms)


def device(name: str, *terms: bytes) -> bytes:
    """`Device (name) { terms }`."""
    return _package(b"\x5b\x82", path(name), *terms)


def processor(name: str, number: int, *terms: bytes) -> bytes:
    """`Processor (name, number, 0, 0) { terms }`."""
    return _package(b"\x5b\x83", path(name), bytes((number,)), bytes(5), *terms)


def method(name: str, count: int, *terms: bytes, serialized: bool = False) -> bytes:
    """`Method (name, count) { terms }`."""
    return _package(b"\x14", path(name), bytes((count | 8 * serialized,)), *terms)


def named(name: str, value: bytes) -> bytes:
    """`Name (name, value)`."""
    return b"\x08" + path(name) + value


def call(name: str, *arguments: bytes) -> bytes:
    """A call of a method."""
    return path(name) + b"".join(arguments)


def if_(condition: bytes, *terms: bytes) -> bytes:
    """`If (condition) { terms }`."""
    return _package(b"\xa0", condition, *terms)


def else_(*terms: bytes) -> bytes:
    """`Else { terms }`."""
    return _package(b"\xa1", *terms)


def while_(condition: bytes, *terms: bytes) -> bytes:
    """`While (condition) { terms }`."""
    return _package(b"\xa2", condition, *terms)


def return_(value: bytes) -> bytes:
    """`Return (value)`."""
    return b"\xa4" + value


def package(*elements: bytes, count: int | None = None) -> bytes:
    """`Package (count) { elements }`; without a count, as many as there are elements."""
    return _package(b"\x12", bytes((len(elements) if count is None else count,)), *elements)


def buffer(content: bytes) -> bytes:
    """`Buffer (length) { content }`."""
    return _package(b"\x11", integer(len(content)), content)


def uuid(text: str) -> bytes:
    """`ToUUID (text)`: a buffer of 16 bytes, the first three fields little endian."""
    return buffer(guid_bytes(text))


def guid_bytes(text: str) -> bytes:
    """The 16 bytes of a GUID as firmware stores it: its first three fields little endian."""
    fields = [bytes.fromhex(field) for field in text.split("-")]
    return b"".join(field[::-1] for field in fields[:3]) + b"".join(fields[3:])


def eisa_id(text: str) -> bytes:
    """`EisaId (text)`: three letters of five bits and four hex digits, big endian."""
    letters = [ord(letter) - 0x40 for letter in text[:3]]
    packed = letters[0] << 26 | letters[1] << 21 | letters[2] << 16 | int(text[3:], 16)
    return b"\x0c" + packed.to_bytes(4, "big")


def store(value: bytes, target: bytes) -> bytes:
    """`target = value`."""
    return b"\x70" + value + target


def add_one(target: bytes) -> bytes:
    """`target++`."""
    return b"\x75" + target


def and_(left: bytes, right: bytes, target: bytes = NOTHING) -> bytes:
    """`target = left & right`."""
    return b"\x7b" + left + right + target


def or_(left: bytes, right: bytes, target: bytes = NOTHING) -> bytes:
    """`target = left | right`."""
    return b"\x7d" + left + right + target


def subtract(left: bytes, right: bytes, target: bytes = NOTHING) -> bytes:
    """`target = left - right`."""
    return b"\x74" + left + right + target


def shift_left(value: bytes, count: bytes, target: bytes = NOTHING) -> bytes:
    """`target = value << count`."""
    return b"\x79" + value + count + target


def index(source: bytes, place: bytes) -> bytes:
    """`source [place]`."""
    return b"\x88" + source + place + NOTHING


def deref(source: bytes) -> bytes:
    """`DerefOf (source)`."""
    return b"\x83" + source


def size_of(source: bytes) -> bytes:
    """`SizeOf (source)`."""
    return b"\x87" + source


def to_buffer(value: bytes, target: bytes) -> bytes:
    """`ToBuffer (value, target)`."""
    return b"\x96" + value + target


def to_hex_string(value: bytes, target: bytes) -> bytes:
    """`ToHexString (value, target)`."""
    return b"\x98" + value + target


def both(left: bytes, right: bytes) -> bytes:
    """`left && right`."""
    return b"\x90" + left + right


def either(left: bytes, right: bytes) -> bytes:
    """`left || right`."""
    return b"\x91" + left + right


def not_(value: bytes) -> bytes:
    """`!value`."""
    return b"\x92" + value


def equal(left: bytes, right: bytes) -> bytes:
    """`left == right`."""
    return b"\x93" + left + right


def unequal(left: bytes, right: bytes) -> bytes:
    """`left != right`."""
    return not_(equal(left, right))


def less(left: bytes, right: bytes) -> bytes:
    """`left < right`."""
    return b"\x95" + left + right


def notify(target: bytes, value: bytes) -> bytes:
    """`Notify (target, value)`."""
    return b"\x86" + target + value


def mutex(name: str) -> bytes:
    """`Mutex (name, 0)`."""
    return b"\x5b\x01" + path(name) + b"\0"


def acquire(name: str) -> bytes:
    """`Acquire (name, 0xffff)`: without a time limit."""
    return b"\x5b\x23" + path(name) + b"\xff\xff"


def release(name: str) -> bytes:
    """`Release (name)`."""
    return b"\x5b\x27" + path(name)


def dword_field(source: bytes, offset: int, name: str) -> bytes:
    """`CreateDWordField (source, offset, name)`."""
    return b"\x8a" + source + integer(offset) + path(name)


def region(name: str, space: int, offset: int, size: int) -> bytes:
    """`OperationRegion (name, space, offset, size)`."""
    return b"\x5b\x80" + path(name) + bytes((space,)) + integer(offset) + integer(size)


def field(name: str, flags: int, entries: Iterable[tuple[str, int]]) -> bytes:
    """`Field (name, flags) { entries }`; an entry is a name, "" for a gap, and its bits."""
    return _package(
        b"\x5b\x81",
        path(name),
        bytes((flags,)),
        *(
            (path(entry) if entry else b"\0") + length(bits, counts_itself=False)
            for entry, bits in entries
        ),
    )


def resources(*descriptors: bytes) -> bytes:
    """`ResourceTemplate () { descriptors }`: a buffer that ends in an end tag without checksum."""
    return buffer(b"".join(descriptors) + b"\x79\0")


def io_ports(base: int, count: int, alignment: int = 1) -> bytes:
    """`IO (Decode16, base, base, alignment, count)`."""
    return bytes((0x47, 1)) + base.to_bytes(2, "little") * 2 + bytes((alignment, count))


def irq_no_flags(number: int) -> bytes:
    """`IRQNoFlags () { number }`."""
    return b"\x22" + (1 << number).to_bytes(2, "little")


def irq_shared(number: int) -> bytes:
    """`IRQ (Level, ActiveLow, Shared) { number }`."""
    return b"\x23" + (1 << number).to_bytes(2, "little") + b"\x18"


def interrupts(*numbers: int, edge: bool) -> bytes:
    """`Interrupt (ResourceConsumer, Edge or Level, ActiveHigh, Shared) { numbers }`."""
    body = bytes((0x0B if edge else 0x09, len(numbers)))
    body += b"".join(number.to_bytes(4, "little") for number in numbers)
    return b"\x89" + len(body).to_bytes(2, "little") + body


MEMORY: Final = 0
IO_SPACE: Final = 1
BUS_NUMBERS: Final = 2
UNCACHED: Final = 1
CACHED: Final = 3
ENTIRE_RANGE: Final = 3


def window(  # noqa: PLR0913 - the fields of a descriptor
    width: int, kind: int, flags: int, first: int, last: int, *, size: int | None = None
) -> bytes:
    """An address space descriptor of 2, 4 or 8 bytes a number: a fixed window that the bridge
    produces, from `first` to `last`."""
    tag = {2: b"\x88", 4: b"\x87", 8: b"\x8a"}[width]
    size = last - first + 1 if size is None else size
    numbers = b"".join(
        (number & (1 << 8 * width) - 1).to_bytes(width, "little")
        for number in (0, first, last, 0, size)
    )
    body = bytes((kind, 0x0C, flags)) + numbers
    return tag + len(body).to_bytes(2, "little") + body
