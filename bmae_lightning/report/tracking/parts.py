"""What the parts of a W&B run on this disk already hold: one part for each time the run was opened.

A part is a file of framed records, as LevelDB writes its log: blocks of 32 KiB; a frame is a checksum (4 bytes), a
length (2), a kind (1) and its bytes, and a record is one frame or several (`wandb leet inspect` prints such files).
"""

import glob
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

STEP = "trainer/global_step"
"""The step axis of all metrics."""
ONCE = -1
MAGIC, HEADER, BLOCK, FRAME = b":W&B", 7, 32768, struct.Struct("<IHB")
WHOLE, FIRST, LAST = 1, 2, 4


@dataclass
class Logged:
    """What is in the history of a run.

    Attributes:
        next: the number that W&B gives the next row, which never falls over the parts of a run.
        last: key -> the last step of training that it was logged for, ONCE where it has none.
    """

    next: int = 0
    last: dict[str, int] = field(default_factory=dict)

    def add(self, row: int, keys: "list[str]", step: int | None) -> None:
        """Take note of a row."""
        self.next = max(self.next, row + 1)
        reached = ONCE if step is None else step
        self.last |= {key: max(reached, self.last.get(key, reached)) for key in keys}

    def joined(self, other: "Logged | None") -> "Logged":
        """Together with what is known of the run from elsewhere."""
        for key, step in other.last.items() if other else ():
            self.last[key] = max(step, self.last.get(key, step))
        return Logged(max(self.next, other.next if other else 0), self.last)


def read_parts(folder: Path, run_id: str) -> Logged:
    """What the parts of a run in W&B's folder hold; a part that cannot be read holds nothing."""
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record

    logged = Logged()
    for path in sorted(folder.glob(f"*run-*/run-{glob.escape(run_id)}.wandb")):
        for content in frames(path.read_bytes()):
            try:
                record = Record.FromString(content)
            except DecodeError:
                break
            if record.WhichOneof("record_type") == "history":
                items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
                step = json.loads(items[STEP]) if STEP in items else None
                logged.add(record.history.step.num, list(items), step)
    return logged


def frames(data: bytes) -> Iterator[bytes]:
    """The records of a part, up to one that a killed process left half written."""
    at, record = HEADER, b""
    while data[:4] == MAGIC and at + FRAME.size <= len(data):
        if BLOCK - at % BLOCK < FRAME.size:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = FRAME.unpack_from(data, at)
        at += FRAME.size + length
        if not kind or at > len(data):
            return
        record = (b"" if kind in (WHOLE, FIRST) else record) + data[at - length : at]
        if kind in (WHOLE, LAST):
            yield record
