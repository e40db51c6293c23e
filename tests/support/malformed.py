"""Messages that no worker may take, as strangers and broken programs send them."""

import base64
import gzip
import json
import pickle
import struct
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import amqp
import redis

from editvec.batch.workers.broker import parse_broker_url
from editvec.batch.workers.tasks import COMPLETE_RUN, PROCESS_CHUNK

SECRET = "hunter2"
RUN = "0123456789abcdef0123456789abcdef"
_EMBEDDED: dict[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
LATER = (datetime.now(UTC) + timedelta(days=9)).isoformat()
SIGNATURE = {"task": COMPLETE_RUN, "args": [RUN], "kwargs": {}, "options": {}, "subtask_type": None}


def headers(**changed: Any) -> dict[str, Any]:
    """Those of a message of ours, but for what is changed; `...` takes one away."""
    name = uuid.uuid4().hex
    whole = {
        "lang": "py",
        "task": PROCESS_CHUNK,
        "id": name,
        "root_id": name,
        "parent_id": None,
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [300, None],
        "argsrepr": "",
        "kwargsrepr": "{}",
        "origin": "gen1@host",
        "ignore_result": None,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
        **changed,
    }
    return {name: value for name, value in whole.items() if value is not ...}


def body(arguments: Any = (RUN, 1), named: Any = None, **embedded: Any) -> bytes:
    """That of a message of ours, but for what is changed."""
    return json.dumps([arguments, named or {}, {**_EMBEDDED, **embedded}]).encode()


def _with_headers() -> Iterator[dict[str, Any]]:
    wrong: dict[str, list[Any]] = {
        "timelimit": [
            *(SECRET, "abc", ["x", "y"], -1, [-1, None], [0, 0], [True, None], [1], {}, 7),
            *([10**9, None], [None, "3"]),
        ],
        "task": [
            7,
            ["a"],
            {},
            None,
            ...,
            "editvec.unknown",
            "x" * 500,
            "\x1b[2J",
            "celery.backend",
        ],
        "id": [..., 7, ["a"], {}, None, "", "x" * 300, "\x1b]0;a\x07"],
        "root_id": [7, ["a"], {"a": 1}],
        "parent_id": [7, ["a"]],
        "lang": [..., 7, "c++", ["py"]],
        "eta": ["abc", 7, [], LATER, "9999-99-99"],
        "expires": ["abc", 7, [], LATER, "2001-01-01T00:00:00"],
        "retries": ["x", -1, 10**6, [], 1.5],
        "group": [7, ["a"], "a"],
        "shadow": [7, "other", ["a"]],
        "argsrepr": [7, ["a"], "x" * 9000],
        "kwargsrepr": [7, {}],
        "origin": [7, ["a"]],
        "ignore_result": ["x", 7],
        "replaced_task_nesting": ["x", -1],
        "stamps": [{"a": 1}, "x"],
        "stamped_headers": [["a"], "x"],
    }
    for name, values in wrong.items():
        for value in values:
            yield {"headers": headers(**{name: value})}
    yield {"headers": {}}
    yield {"headers": {"a": "b"}}
    for compression in ("gzip", "application/x-gzip", "bz2", "unknown", 7, ["gzip"]):
        yield {
            "headers": headers(compression=compression),
            "body": gzip.compress(body()),
        }
    yield {"headers": headers(compression="gzip"), "body": gzip.compress(bytes(20_000_000))}


def _with_types() -> Iterator[dict[str, Any]]:
    for content_type in ("application/x-python-serialize", "text/plain", "application/x-yaml", ""):
        yield {"content_type": content_type}
    yield {
        "content_type": "application/x-python-serialize",
        "body": pickle.dumps([[RUN, 1], {}, {}]),
    }
    for encoding in ("utf-16", "binary", "rot13", "punycode", "no such one", ""):
        yield {"content_encoding": encoding}


def _with_bodies() -> Iterator[dict[str, Any]]:
    texts = ("", "no JSON", "{", "[]", "{}", "7", "null", "NaN", '"a"', "[[],{},{}]", "[1,2,3]")
    for text in texts:
        yield {"body": text.encode()}
    yield {"body": b"\xff\xfe[]"}
    yield {"body": b"[" * 60_000}
    yield {"body": b"[" * 30_000 + b"]" * 30_000}
    yield {"body": b"9" * 9_000}
    yield {"body": b"[" + b"0," * 100_000 + b"0]"}
    yield {"body": b'{"__type__": "uuid", "__value__": "zz"}'}
    yield {"body": json.dumps({"task": PROCESS_CHUNK, "id": "1", "args": [RUN, 1]}).encode()}
    arguments: list[Any] = [
        *([], [RUN], [RUN, 1, 2], [RUN, "1"], [RUN, [1]], [RUN, -1], [RUN, 0], [RUN, 10**30]),
        *(
            [RUN, 1.5],
            [RUN, True],
            [RUN, None],
            [7, 1],
            [None, 1],
            [[RUN], 1],
            ["", 1],
            ["../x", 1],
        ),
        *(["a\0b", 1], ["é", 1], ["a" * 500, 1], "ab", {}, {"run_id": RUN, "chunk_id": 1}, 7, None),
        [{"__type__": "uuid", "__value__": "zz"}, 1],
    ]
    for value in arguments:
        yield {"body": body(value)}
    yield {"body": body((RUN,), {"chunk_id": 1})}
    yield {"body": body(named={"__import__": "os"})}
    for name in _EMBEDDED:
        for value in ("x", 7, [SIGNATURE], {"task": "x"}, [7]):
            yield {"body": body(**{name: value})}
    yield {"body": body(other=1)}
    yield {"headers": headers(task=COMPLETE_RUN), "body": body((RUN, 1))}
    yield {"headers": headers(task=COMPLETE_RUN), "body": body(([RUN],))}


def malformed() -> list[dict[str, Any]]:
    """Messages with something wrong: what differs from one of ours, in the terms of AMQP."""
    return [*_with_headers(), *_with_types(), *_with_bodies()]


def payload(message: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """A message as kombu writes it into a list or a file."""
    properties = {
        "correlation_id": uuid.uuid4().hex,
        "reply_to": uuid.uuid4().hex,
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "editvec.work.tiny.v1"},
        "priority": 1,
        "body_encoding": "base64",
        "delivery_tag": uuid.uuid4().hex,
    }
    whole = {
        "body": base64.b64encode(message.get("body", body())).decode(),
        "content-type": message.get("content_type", "application/json"),
        "content-encoding": message.get("content_encoding", "utf-8"),
        "headers": message.get("headers", headers()),
        "properties": properties,
    }
    for name, value in changed.items():
        where = whole if name.replace("_", "-") in whole else properties
        key = name.replace("_", "-") if where is whole else name
        where[key] = value
        if value is ...:
            del where[key]
    return whole


def items() -> list[bytes]:
    """Items of a list, or files, that kombu's reader does not survive, or one of the above."""
    texts = [
        "",
        "no JSON",
        "{",
        "[]",
        "[1, 2]",
        "{}",
        "7",
        "1e400",
        "null",
        '"a"',
        "true",
        "[" * 60_000,
    ]
    raw = [text.encode() for text in texts if text]
    raw += [b"\xff\xfe", b"\x80\x04K\x01.", b"9" * 9_000, b" " * 200_000]
    for value in ("a", 7, [], None, ...):
        raw += [
            json.dumps(payload({}, **{name: value})).encode()
            for name in ("headers", "properties", "delivery_info")
        ]
        if value != "a":
            raw += [
                json.dumps(payload({}, **{name: value})).encode()
                for name in ("content_type", "content_encoding", "body", "delivery_tag")
            ]
    for wrong in ("n@t base64", "abc", "é"):
        raw.append(json.dumps(payload({}, body=wrong)).encode())
    for encoding in ("rot13", "", None, 7, [], ...):
        raw.append(json.dumps(payload({}, body_encoding=encoding)).encode())
    for priority in ("x", [], -1, 10**30, 1.5):
        raw.append(json.dumps(payload({}, priority=priority)).encode())
    for info in ({}, {"exchange": 7, "routing_key": []}, {"exchange": "", "routing_key": None}):
        raw.append(json.dumps(payload({}, delivery_info=info)).encode())
    for name in ("correlation_id", "reply_to"):
        raw.append(json.dumps(payload({}, **{name: ["a"]})).encode())
    raw += [json.dumps(payload(message), default=str).encode() for message in malformed()]
    return raw


def put_items(broker: str, queue: str, wanted: list[bytes]) -> None:
    """Puts items where a worker takes its messages from, past kombu."""
    folder = parse_broker_url(broker).folder
    if folder is None:
        with redis.Redis.from_url(broker) as client:
            client.lpush(queue, *wanted)
        return
    (folder / "messages").mkdir(parents=True, exist_ok=True)
    for number, item in enumerate(wanted):
        name = f"0_{number:020d}_{uuid.uuid4()}.{queue}.msg"
        (folder / "messages" / name).write_bytes(item)


def rabbit(url: str) -> amqp.Connection:
    """A connection past kombu."""
    user, _, rest = url.removeprefix("amqp://").partition("@")
    host, _, virtual_host = rest.partition("/")
    name, _, password = user.partition(":")
    connection = amqp.Connection(
        host, userid=name, password=password, virtual_host=virtual_host or "/"
    )
    connection.connect()
    return connection


class Unreadable(amqp.Message):
    """A message with a header of a time that no calendar has."""

    def _serialize_properties(self) -> bytes:
        header = b"\x01aT" + struct.pack(">Q", 2**63 - 1)
        return struct.pack(">HI", 1 << 13, len(header)) + header


def publish_unreadable(url: str, queue: str) -> None:
    """Sends one to RabbitMQ."""
    with rabbit(url) as connection:
        connection.channel().basic_publish_confirm(
            Unreadable(body()), exchange="", routing_key=queue
        )


def publish(url: str, queue: str, wanted: list[dict[str, Any]]) -> None:
    """Sends messages to RabbitMQ, past kombu."""
    with rabbit(url) as connection:
        channel = connection.channel()
        for message in wanted:
            options = {
                "content_type": message.get("content_type", "application/json"),
                "content_encoding": message.get("content_encoding", "utf-8"),
                "application_headers": message.get("headers", headers()),
                **message.get("properties", {}),
            }
            sent = amqp.Message(message.get("body", body()), **options)
            channel.basic_publish_confirm(sent, exchange="", routing_key=queue)


def dead_items(broker: str) -> list[bytes]:
    """What was put aside of a Redis or a folder, the oldest first."""
    folder = parse_broker_url(broker).folder
    if folder is None:
        with redis.Redis.from_url(broker) as client:
            return list(reversed(client.lrange("editvec.dead", 0, -1)))
    return [path.read_bytes() for path in sorted(Path(folder, "editvec.dead").glob("*.msg"))]
