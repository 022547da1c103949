#!/usr/bin/env python3
"""Writes a recording of vLLM 0.32 again as another version of an engine would have written it.

    reencode.py RECORDING KV_EVENTS_PY VERSION OUT

KV_EVENTS_PY is that version's own file (`vllm/distributed/kv_events.py` of its wheel, for SGLang
`sglang/srt/disaggregation/kv_events.py`): the events are encoded by its classes, taken from it by name, so that the
encoding is the engine's and not what somebody wrote down about it. What that version does not know is left out; the
frames of replies are those of the version. Needs msgspec.
"""
import ast
import struct
import sys

import msgspec

HEADER = b"conductor-events 1\n"


def classes(path):
    """The classes of events, without the rest of the file."""
    tree = ast.parse(open(path).read())
    wanted = {"EventBatch", "KVCacheEvent", "BlockStored", "BlockRemoved", "AllBlocksCleared", "KVEventBatch"}
    kept = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in wanted]
    scope = {"msgspec": msgspec, "ExternalBlockHash": bytes | int}
    header = "from __future__ import annotations\nfrom typing import *\nimport enum\n"
    exec(header + "ExternalBlockHash = Union[bytes, int]\n", scope)
    exec(compile(ast.Module(body=kept, type_ignores=[]), path, "exec"), scope)
    return scope


def read(path):
    """Messages of a recording: how each came, and its frames."""
    data = open(path, "rb").read()
    assert data.startswith(HEADER)
    at = len(HEADER)
    while at < len(data):
        came, count = data[at : at + 1], data[at + 1]
        at += 2
        frames = []
        for _ in range(count):
            (length,) = struct.unpack_from(">I", data, at)
            frames.append(data[at + 4 : at + 4 + length])
            at += 4 + length
        yield came, frames


def main():
    recording, path, version, out = sys.argv[1:5]
    scope = classes(path)
    is_sglang = version.startswith("sglang")
    numbers = [int(part) for part in version.split("-")[-1].split(".")]
    short = is_sglang or numbers < [0, 26]
    signed = lambda hash: hash - (1 << 64) if is_sglang and hash >= 1 << 63 else hash
    medium = {"GPU": "GPU", "CPU": "CPU_PINNED"}

    def event(raw):
        kind = scope[raw["type"]]
        known = set(kind.__struct_fields__)
        fields = {name: value for name, value in raw.items() if name in known}
        if "block_hashes" in fields:
            fields["block_hashes"] = [signed(hash) for hash in fields["block_hashes"]]
        if fields.get("parent_block_hash") is not None:
            fields["parent_block_hash"] = signed(fields["parent_block_hash"])
        keys = raw.get("extra_keys") or [None]
        if is_sglang:
            fields["medium"] = medium[fields["medium"]]
            if raw.get("parent_block_hash") is None and keys[0]:
                fields["cache_salt"] = keys[0][0]
        return kind(**fields)

    encoder = msgspec.msgpack.Encoder()
    with open(out, "wb") as file:
        file.write(HEADER)
        for came, frames in read(recording):
            payload = frames[-1]
            if payload:
                ts, events, rank = msgspec.msgpack.decode(payload)
                batch = scope["KVEventBatch"](ts, [event(raw) for raw in events], rank)
                frames[-1] = encoder.encode(batch)
            if came == b"R" and short:
                frames = [frames[0], *frames[2:]]
            if came == b"L" and is_sglang:
                frames[0] = b""
            file.write(came + bytes([len(frames)]))
            for frame in frames:
                file.write(struct.pack(">I", len(frame)) + frame)


main()
