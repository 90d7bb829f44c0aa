#!/usr/bin/env python3
"""Writes the seeds that are not text, from the words of proto/burla/v1 and of the component format. Run it after either has changed."""

import struct
from pathlib import Path

HERE = Path(__file__).parent


def leb(number):
    head = b""
    while number > 0x7F:
        head, number = head + bytes([number & 0x7F | 0x80]), number >> 7
    return head + bytes([number])


def message(*fields):
    """Fields as (number, value): an int is a varint, anything else has a length."""
    written = b""
    for number, value in fields:
        if isinstance(value, int):
            written += leb(number << 3) + leb(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            written += leb(number << 3 | 2) + leb(len(value)) + value
    return written


def section(kind, data):
    return bytes([kind]) + leb(len(data)) + data


def name(text):
    return leb(len(text)) + text.encode()


def write(target, seeds):
    (HERE / target).mkdir(exist_ok=True)
    for seed, data in seeds.items():
        (HERE / target / seed).write_bytes(data)


DIGEST, ID = bytes(range(32)), bytes(range(16))
PEER = message((1, "0.1.0"), (2, 2), (3, 2))
RESOURCES = message((1, 1000), (2, 1 << 32))
LIMITS = message((1, 1 << 30), (2, 5), (3, 1500), (4, 1000), (5, 1 << 30), (6, "api.example.com:443"), (6, "*.example.com:*"))
WORK = message((1, DIGEST), (2, "hello::f"), (3, LIMITS), (4, message((1, "K"), (2, "V"))), (5, 1))
USAGE = message((1, 1), (2, 2), (3, 3), (4, 4))


def event(number, value):
    return message((1, 7), (2, 1), (number, value), (6, USAGE))


def failure(number, *fields):
    return event(4, message((number, message(*fields)), (7, "last words")))


EVENTS = [
    event(3, b"\x2a"),
    failure(1, (1, "no"), (2, "because")),
    failure(2, (1, "oh"), (2, "src/main.rs:1:2"), (3, "hello::f")),
    failure(3, (1, "integer divide by zero"), (2, "hello::f")),
    *(failure(4, (1, limit), (2, 1), (3, 2), (4, 3)) for limit in range(1, 8)),
    failure(5, (1, "no such function")),
    failure(6, (1, "its node went away")),
    event(5, message((1, 1), (2, "a line\n"))),
]

write("client_messages", {
    "offer_component": message((1, PEER), (2, DIGEST)),
    "component_chunk": message((1, DIGEST), (2, b"\0asm\x0d\0\x01\0")),
    "map_open": message((1, message((1, PEER), (2, WORK), (3, 1000), (4, 1 << 32), (5, 8), (6, "a job")))),
    "map_inputs": message((2, message((1, 3), (2, b"\x01"), (2, b"\x02")))),
    "map_inputs_closed": message((3, b"")),
    "list": message((1, PEER)),
    "cancel_job": message((1, PEER), (2, ID)),
})

write("node_messages", {
    "hello": message((1, message((1, PEER), (2, "node"), (3, RESOURCES), (4, 100)))),
    "events": message((2, message((1, ID), *((2, event) for event in EVENTS)))),
    "unusable": message((3, message((1, ID), (2, "no"), (3, 1)))),
    "returned": message((4, message((1, ID), (2, message((1, 7), (2, 1))), (3, 1)))),
    "leaving": message((5, b"")),
    "download_component": message((1, DIGEST)),
})

write("scheduler_messages", {
    "map_opened": message((1, message((1, ID)))),
    "map_events": message((2, message(*((1, event) for event in EVENTS)))),
    "map_waiting": message((3, message((1, "no node")))),
    "map_progress": message((4, message((1, 2), (2, 1)))),
    "welcome": message((1, message((1, ID), (2, 2)))),
    "start_job": message((2, message((1, ID), (2, WORK)))),
    "set_slots": message((3, message((1, ID), (2, 4), (3, 1 << 30)))),
    "run_calls": message((4, message((1, ID), (2, message((1, 7), (2, 1), (3, b"\x2a")))))),
    "nodes": message((1, message((1, ID), (2, "node"), (3, "0.1.0"), (4, RESOURCES), (5, RESOURCES), (6, 1), (7, 1), (8, 9)))),
    "jobs": message((1, message((1, ID), (2, "job"), (3, "hello::f"), (4, 1), (10, 9), (11, RESOURCES), (12, USAGE)))),
    "version_mismatch": message((1, message((1, PEER), (2, PEER)))),
    "unknown_component": message((2, message((1, DIGEST)))),
    "unknown_function": message((4, message((1, "a::b"), (2, "a::c")))),
    "no_node_fits": message((5, message((1, RESOURCES), (2, RESOURCES)))),
    "unknown_job": message((9, message((1, ID)))),
    "refused_by_policy": message((10, message((1, "not here")))),
})

MODULE, COMPONENT = b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"
LINE = b'{"name":"hello::f","signature":"(my_input: i64) -> i64","doc":"Doubles.","source":"1f"}\n'
FUNCTIONS = section(0, name("burla:functions") + LINE * 2)
# An instance, of a type that nobody looks up.
IMPORTS = section(10, leb(2) + b"".join(b"\0" + name(it) + b"\x05\0" for it in ("wasi:io/poll@0.2.6", "wasi:http/types@0.2.4")))
EXPORTS = section(11, leb(1) + b"\0" + name("burla:function/handler@0.1.0") + b"\x05\0\0")
write("component_inspection", {
    "empty": COMPONENT,
    "functions": COMPONENT + FUNCTIONS,
    "interfaces": COMPONENT + IMPORTS + EXPORTS,
    # As the linker leaves it: the functions are in the core module.
    "whole": COMPONENT + section(1, MODULE + FUNCTIONS) + IMPORTS + EXPORTS,
    "nested": COMPONENT + section(4, COMPONENT + section(1, MODULE) + IMPORTS),
    "core_module": MODULE,
})

# Arrays in arrays, as deep as the codec reads them and one more.
DEEPEST = 1024
write("map_lines", {
    "deepest.msgpack": b"\x91" * DEEPEST + b"\xc0",
    "too_deep.msgpack": b"\x91" * (DEEPEST + 1) + b"\xc0",
    "keys.msgpack": b"\x84\x01\xa1a\xc3\xa1b\xff\xa1c\xcb" + struct.pack(">d", 0.5) + b"\xa1d",
    "floats.msgpack": b"\x93\xca" + struct.pack(">f", 1e14) + b"\xcb" + struct.pack(">d", float("nan")) + b"\xcb" + struct.pack(">d", -0.0),
    "bytes.msgpack": b"\x92\xc4\x02\x00\xff\xc7\x02\x04\x00\xff",
    "wide.msgpack": b"\x92\xd8\x03" + b"\xff" * 16 + b"\xd8\x02\x80" + b"\0" * 15,
    "somes.msgpack": b"\x91\xd4\x01\x02",
})


def everything():
    circle = b"\x81\xa6Circle\x81\xa6radius\xcb" + struct.pack(">d", -0.5)
    shapes = b"\x94\xa3Dot" + b"\x81\xa5Named\xa1x" + circle + b"\x81\xa7Polygon\x91\x92\x01\xfe"
    wide = b"\x93\xcf" + b"\xff" * 8 + b"\xd3\x80" + b"\0" * 7 + b"\xd8\x03" + b"\xff" * 16
    narrow = b"\x94\xcc\xff\xd0\x80\xca" + struct.pack(">f", 0.1) + b"\xc3"
    fields = {"shapes": shapes, "maybe": b"\xd4\x01\x01", "map": b"\x81\x07\xa2\xc3\x9f", "wide": wide, "narrow": narrow}
    fields |= {"nothing": b"\xd4\x01\x01", "bytes": b"\xc4\x02\x00\xff", "sequences": b"\x91\xc7\x02\x04\x00\xff"}
    fields |= {"untagged": b"\x81\xa5inner\xd4\x01\x01", "rest": b"\xc3"}
    return bytes([0x80 | len(fields)]) + b"".join(bytes([0xA0 | len(key)]) + key.encode() + value for key, value in fields.items())


write("values", {
    "everything.msgpack": everything(),
    # The last byte is put behind the value again, where it begins an array that does not come.
    "trailing.msgpack": b"\xcc\x91",
    "text.msgpack": b"\xa5hello",
    "slots": struct.pack("<QQQQ", 4000, 10, 1000, 3),
    "cpus": struct.pack("<d", 0.25),
})
