"""The broker's address: what EDITVEC_BROKER_URL says, in the terms of Celery."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from editvec.batch.errors import SettingsError
from editvec.batch.recipes.settings import Priority
from editvec.masking import remember

# Longer than any chunk: a broker that redelivers earlier gives a second worker the same message.
VISIBILITY_SECONDS = 1800
CONNECT_SECONDS = 10

_FOLDER, _REDIS, _AMQP = "filesystem", ("redis", "rediss"), ("amqp", "amqps", "pyamqp")
_ENCRYPTED = ("rediss", "amqps")
_FILE_KEYS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OTHER_KEYS = ("connect_timeout", "heartbeat", "login_method")  # of kombu
_VERIFY_KEY = "ssl_cert_reqs"
# Silence for longer is a connection that is gone; a worker's own wait for a message is 1 s.
_REDIS_SILENCE_SECONDS = 15
_FOLDER_POLL_SECONDS = 0.2
_FOLDER_TRANSPORT = "editvec.batch.workers.folder_transport:FolderTransport"
_AMQP_TRANSPORT = "editvec.batch.workers.amqp_transport:AmqpTransport"
_REDIS_TRANSPORT = "editvec.batch.workers.redis_transport:RedisTransport"
_BY_URGENCY = (Priority.LOW, Priority.NORMAL, Priority.HIGH)


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Where messages go.

    Attributes:
        url: as Celery takes it.
        folder: of a broker that is a folder of files; None = a server.
        transport: Celery's `broker_transport`: our own, which no message can end.
        use_ssl: Celery's `broker_use_ssl`; None = not encrypted.
        transport_options: Celery's `broker_transport_options`.
    """

    url: str = field(repr=False)
    transport: str
    folder: Path | None = None
    use_ssl: dict[str, Any] | None = None
    transport_options: dict[str, Any] = field(default_factory=dict)


def parse_broker_url(text: str) -> Broker:
    """Reads the address of a broker.

    Args:
        text: ``redis://``, ``amqp://``, encrypted ``rediss://`` or ``amqps://``, or
            ``filesystem:///folder``, which needs no server. Encrypted ones are verified, against
            ``?ssl_ca_certs=FILE`` or the system's authorities, unless ``?ssl_cert_reqs=none``.

    Raises:
        SettingsError: it names no broker that we support.
    """
    remember(text)
    try:
        parts = urlsplit(text)
    except ValueError as exc:
        raise SettingsError(f"EDITVEC_BROKER_URL: expected a URL, got none ({exc})") from exc
    if parts.scheme == _FOLDER:
        return _folder_broker(text, parts)
    if parts.scheme not in (*_REDIS, *_AMQP):
        raise SettingsError(
            "EDITVEC_BROKER_URL: expected redis://, rediss://, amqp://, amqps:// or "
            f"filesystem:///FOLDER, got {text!r}"
        )
    for name, _value in parse_qsl(parts.query, keep_blank_values=True):
        if not name.startswith("ssl_") and name not in _OTHER_KEYS:
            raise SettingsError(
                f"EDITVEC_BROKER_URL: expected no parameter but {', '.join(_OTHER_KEYS)} and those "
                f"of ssl_, got {name!r}; a password stands before the host, "
                f"{parts.scheme}://USER:PASSWORD@HOST"
            )
    try:
        _ = parts.port
    except ValueError as exc:
        raise SettingsError(f"EDITVEC_BROKER_URL: expected HOST:PORT, got {text!r}") from exc
    options: dict[str, Any] = {}
    transport = _AMQP_TRANSPORT
    if parts.scheme in _REDIS:
        transport = _REDIS_TRANSPORT
        options = {
            "visibility_timeout": VISIBILITY_SECONDS,
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_timeout": _REDIS_SILENCE_SECONDS,
            "socket_keepalive": True,
            # a list for each priority of a queue, read in this order
            "priority_steps": list(range(len(Priority))),
            "queue_order_strategy": "priority",
        }
    if parts.scheme not in _ENCRYPTED:
        return Broker(url=text, transport=transport, transport_options=options)
    query = dict(parse_qsl(parts.query))
    use_ssl = _tls_options(parts, query)
    kept = {name: value for name, value in query.items() if not name.startswith("ssl_")}
    url = parts._replace(query=urlencode(kept)).geturl()
    return Broker(url=url, transport=transport, use_ssl=use_ssl, transport_options=options)


def message_priority(url: str, priority: Priority) -> int:
    """The number that stands for a priority: most comes first, but for Redis the least does.

    Args:
        url: of the broker, as Celery has it.
        priority: of the run.
    """
    urgency = _BY_URGENCY.index(priority)
    return len(Priority) - 1 - urgency if urlsplit(url).scheme in _REDIS else urgency


def _folder_broker(text: str, parts: SplitResult) -> Broker:
    """A broker that is a folder: every message a file."""
    folder = Path(unquote(parts.path))
    if not folder.is_absolute() or parts.netloc:
        raise SettingsError(
            f"EDITVEC_BROKER_URL: expected filesystem:// and an absolute folder, got {text!r}"
        )
    options = {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        # messages are moved here while they are read: the default would be another disk
        "processed_folder": str(folder / "taken"),
        "store_processed": True,
        "polling_interval": _FOLDER_POLL_SECONDS,
    }
    return Broker(
        url="filesystem://localhost//",
        folder=folder,
        transport=_FOLDER_TRANSPORT,
        transport_options=options,
    )


def _tls_options(parts: SplitResult, query: dict[str, str]) -> dict[str, Any]:
    """How the connection is encrypted; each transport has names of its own for the same things."""
    verify = query.get(_VERIFY_KEY, "required")
    unknown = [name for name in query if name.startswith("ssl_") and name not in _FILE_KEYS]
    if set(unknown) - {_VERIFY_KEY} or verify not in ("required", "none"):
        raise SettingsError(
            f"EDITVEC_BROKER_URL: expected {', '.join(_FILE_KEYS)} or {_VERIFY_KEY}=required|none, "
            f"got {parts.query!r}"
        )
    is_verified = verify == "required"
    files = {name: query[name] for name in _FILE_KEYS if name in query}
    for name, file in files.items():
        if not Path(file).is_file():
            raise SettingsError(f"EDITVEC_BROKER_URL: {name}: no file {file!r}")
    required = ssl.CERT_REQUIRED if is_verified else ssl.CERT_NONE
    if parts.scheme in _REDIS:
        return {"ssl_cert_reqs": required, "ssl_check_hostname": is_verified, **files}
    options: dict[str, Any] = {name.removeprefix("ssl_"): file for name, file in files.items()}
    # amqp compares the certificate with the host that it is told, and with none otherwise
    named = {"server_hostname": parts.hostname} if is_verified else {}
    return {"cert_reqs": required, **named, **options}
