"""ACPI blobs as an unmodified QEMU builds them, without a firmware, a kernel or an accelerator.

QEMU is started with its processors stopped, and driven over qtest (docs/devel/testing/qtest.rst):
registers are written as OVMF writes them, and the blobs read by fw_cfg's DMA interface
(docs/specs/fw_cfg.rst). It builds its tables when they are read.

    python benchmarks/qemu_oracle.py [COUNT] [SEED]

compares COUNT random machines, blob by blob, with what `verifier.machine` computes, and ends with
1 where one differs. QEMU_ROOT names the folder of an unpacked QEMU; without it, the one in PATH.
"""

import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final, Self

from verifier.machine.acpi import AcpiBlobs, acpi_blobs
from verifier.machine.shape import FIRST_EXPANDER_SLOT, MachineShape

_SCRATCH: Final = 0x10000
_BUFFER: Final = 0x20000
_WINDOW: Final = 0x380000000000
_DIRECTORY: Final = 0x19
_MAX_BLOB: Final = 1 << 22


class Oracle:
    """One stopped QEMU of a shape."""

    def __init__(self, command: list[str], shape: MachineShape) -> None:
        self.process = subprocess.Popen(
            [*command, *arguments(shape)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def ask(self, line: str) -> str:
        """The answer to one qtest command."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        while True:
            answer = self.process.stdout.readline()
            if not answer:
                raise RuntimeError(f"QEMU ended at {line!r}")
            if answer.startswith(("OK", "FAIL", "ERR")):
                if not answer.startswith("OK"):
                    raise RuntimeError(f"{line!r}: {answer}")
                return answer[2:].strip()

    def config(self, slot: int, function: int, offset: int, value: int | None = None) -> int:
        """Read or write a dword of PCI configuration space on bus 0."""
        address = 1 << 31 | slot << 11 | function << 8 | offset
        self.ask(f"outl 0xcf8 {address:#x}")
        if value is None:
            return int(self.ask("inl 0xcfc"), 16)
        self.ask(f"outl 0xcfc {value:#x}")
        return value

    def set_up(self, shape: MachineShape) -> None:
        """Program what the firmware programs: the chipset's bases, and a 64-bit BAR."""
        self.config(0x1F, 0, 0x40, 0x601)
        self.config(0x1F, 0, 0x44, 0x80)
        self.config(0, 0, 0x64, 0)
        self.config(0, 0, 0x60, 0xE0000001)
        for number, slot in enumerate(shape.endpoint_slots[1:]):
            base = _WINDOW + number * 0x4000
            self.config(slot, 0, 0x20, base & 0xFFFFFFFF)
            self.config(slot, 0, 0x24, base >> 32)
            self.config(slot, 0, 0x04, 7)

    def blob(self, name: str) -> bytes:
        """A file of fw_cfg."""
        count = struct.unpack(">I", self._dma(_DIRECTORY, 4))[0]
        entries = self._dma(_DIRECTORY, 4 + 64 * count)[4:]
        for entry in struct.iter_unpack(">IHH56s", entries):
            size, key, _, label = entry
            if label.rstrip(b"\0").decode() == name:
                return self._dma(key, min(size, _MAX_BLOB))
        raise RuntimeError(f"QEMU has no {name}")

    def _dma(self, key: int, size: int) -> bytes:
        request = struct.pack(">IIQ", key << 16 | 0x0A, size, _BUFFER)
        self.ask(f"write {_SCRATCH:#x} {len(request)} 0x{request.hex()}")
        self.ask(f"outl 0x514 {0:#x}")
        self.ask(f"outl 0x518 {int.from_bytes(_SCRATCH.to_bytes(4, 'big'), 'little'):#x}")
        return bytes.fromhex(self.ask(f"read {_BUFFER:#x} {size:#x}")[2:])

    def blobs(self, shape: MachineShape) -> AcpiBlobs:
        """The three blobs."""
        self.set_up(shape)
        tables = self.blob("etc/acpi/tables")
        rsdp = self.blob("etc/acpi/rsdp")
        return AcpiBlobs(self.blob("etc/table-loader"), rsdp, tables)


def arguments(shape: MachineShape) -> list[str]:
    """QEMU's options for a machine. Devices that the host would lend are stood in for by others:
    a device without children shows in the tables by its slot alone."""
    mebibytes = shape.memory >> 20
    switch = {True: "on", False: "off"}
    given = [
        *(
            "-accel",
            "tcg",
            "-S",
            "-qtest",
            "stdio",
            "-qtest-log",
            "none",
            "-display",
            "none",
            "-nodefaults",
        ),
        *("-serial", "null", "-cpu", "qemu64,vendor=GenuineIntel"),
        *("-machine", f"q35,hpet=off,smm=off,pic={switch[shape.pic]}"),
        *("-smp", f"{shape.cpus}", "-m", f"{mebibytes}M"),
    ]
    if not shape.hotplug:
        given += ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
    if shape.hole:
        given += ["-global", f"q35-pcihost.pci-hole64-size={shape.hole:#x}"]
    for slot in shape.endpoint_slots[1:]:
        given += ["-device", f"virtio-rng-pci,addr={slot:#x}"]
    given += _nodes(shape)
    for number, slot in enumerate(shape.port_slots):
        given += _port(number, "pcie.0", f",addr={slot:#x}")
    return given


def _port(number: int, bus: str, where: str = "") -> list[str]:
    port = f"pcie-root-port,id=port{number},bus={bus},chassis={number}{where}"
    return ["-device", port, "-device", f"virtio-rng-pci,bus=port{number}"]


def _nodes(shape: MachineShape) -> list[str]:
    given: list[str] = []
    count = len(shape.nodes)
    expanders = 0
    for node, bus in enumerate(shape.nodes):
        share, cpus = (shape.memory >> 20) // count, shape.cpus // count
        given += ["-object", f"memory-backend-ram,id=mem{node},size={share}M"]
        first, last = node * cpus, (node + 1) * cpus - 1
        given += ["-numa", f"node,nodeid={node},cpus={first}-{last},memdev=mem{node}"]
        if bus:
            slot = FIRST_EXPANDER_SLOT + expanders
            expander = f"pxb-pcie,id=node{node},bus=pcie.0,addr={slot:#x}"
            given += ["-device", f"{expander},numa_node={node},bus_nr={bus}"]
            given += _port(100 + node, f"node{node}")
            expanders += 1
    return given


def qemu_command(root: str) -> list[str]:
    """How to start QEMU: of an unpacked folder, through its own loader, or the one in PATH."""
    if not root:
        found = shutil.which("qemu-system-x86_64")
        if found is None:
            raise SystemExit("no qemu-system-x86_64 in PATH, and no QEMU_ROOT")
        return [found]
    top = Path(root)
    libraries = [top / "usr/lib/x86_64-linux-gnu", top / "lib/x86_64-linux-gnu"]
    loader = next(top.glob("**/ld-linux-x86-64.so.2"))
    paths = ":".join(str(path) for path in libraries)
    data = top / "usr/share"
    return [
        *(str(loader), "--library-path", paths, str(top / "usr/bin/qemu-system-x86_64")),
        *("-L", f"{data}/qemu", "-L", f"{data}/seabios"),
    ]


def qemu_version(command: list[str]) -> tuple[int, int, int]:
    """The version that QEMU states."""
    text = subprocess.run([*command, "--version"], check=True, capture_output=True, text=True)
    major, minor, patch = text.stdout.split("version ")[1].split()[0].split(".")[:3]
    return int(major), int(minor), int(patch.split("(")[0])


def random_shape(draw: random.Random, version: tuple[int, int, int]) -> MachineShape:
    """A machine that fits a small host's memory."""
    nodes = draw.choice([(), (), (), (0,), (5,), (5, 6), (5, 6, 8), (0, 9)])
    count = max(len(nodes), 1)
    mebibytes = draw.choice([512, 1024, 2048, 2815, 2816, 3072, 4096])
    mebibytes -= mebibytes % (count * 2)
    return MachineShape(
        cpus=count * draw.choice([1, 2, 3, 4, 8, 9, 17, 64, 85]),
        memory=mebibytes << 20,
        qemu=version,
        pic=draw.choice([True, False]),
        hotplug=draw.choice([True, False]),
        hole=draw.choice([0, 0, 1 << 36, 1500 << 20, 1 << 38]),
        ports=draw.choice([0, 0, 1, 2, 3, 12]),
        endpoints=draw.choice([5, 6, 7, 9]),
        nodes=nodes,
    )


def main() -> int:
    """Compare machines; 1 where one differs."""
    count, seed = (int(text) for text in (*sys.argv[1:], "200", "1")[:2])
    command = qemu_command(os.environ.get("QEMU_ROOT", ""))
    version = qemu_version(command)
    draw = random.Random(seed)  # noqa: S311 - machines to try, no keys
    different = 0
    for _ in range(count):
        shape = random_shape(draw, version)
        with Oracle(command, shape) as oracle:
            theirs, ours = oracle.blobs(shape), acpi_blobs(shape)
        wrong = [n for n in ("loader", "rsdp", "tables") if getattr(theirs, n) != getattr(ours, n)]
        if wrong:
            different += 1
            print(f"{', '.join(wrong)} differ: {shape}")
            if "QEMU_DUMP" in os.environ:
                folder = Path(os.environ["QEMU_DUMP"])
                (folder / "theirs").write_bytes(theirs.tables)
                (folder / "ours").write_bytes(ours.tables)
                break
    print(f"QEMU {'.'.join(map(str, version))}: {count - different} of {count} machines equal")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
