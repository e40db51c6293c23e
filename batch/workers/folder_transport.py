"""A folder as the broker: kombu's transport, with messages in the order of their priority."""

from __future__ import annotations

import json
import logging
import stat
import time
import uuid
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem, virtual

from editvec.batch.workers.envelopes import (
    DEAD_LETTERS,
    KEPT_DEAD_LETTERS,
    LARGEST_BYTES,
    MalformedMessageError,
    read_payload,
)

_LOG = logging.getLogger(__name__)
_HIGHEST = 9
_QoS: Any = virtual.QoS
# Those that are refused leave the hands free for the next one.
_MOST_AT_ONCE = 100


class FolderQoS(_QoS):  # type: ignore[misc]
    """Keeps what is rejected for good."""

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Gives a message back, or puts it with the dead letters."""
        message = self._delivered.get(delivery_tag)
        if not requeue and message is not None:
            self.channel.bury(json.dumps(message._raw).encode())
        super().reject(delivery_tag, requeue=requeue)


class FolderChannel(filesystem.Channel):
    """Messages are files, which are taken in the order of their names.

    A file appears by a rename, so that nobody takes half of one. A file that is no message is put
    aside, into the folder `DEAD_LETTERS` beside the others.
    """

    QoS = FolderQoS

    def bury(self, item: bytes) -> None:
        """Keeps a message with the dead letters."""
        target = self._room_for_dead()
        new = target.with_suffix(".new")
        new.write_bytes(item)
        new.replace(target)

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        """Takes the first file of a queue that is a message; waits for none."""
        del timeout
        for path in sorted(Path(self.data_folder_in).iterdir()):
            if path.name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = Path(self.processed_folder) / path.name
            # another worker may be faster
            with suppress(FileNotFoundError):
                try:
                    item = self._take(path, taken)
                    return read_payload(item)
                except MalformedMessageError as exc:
                    _LOG.error("a message was refused: %s (in %s)", exc, queue)
                    (taken if taken.exists() else path).rename(self._room_for_dead())
        raise Empty

    def _take(self, path: Path, taken: Path) -> bytes:
        """Moves a file away and reads it; a link or a pipe stays where it is, unread."""
        if not stat.S_ISREG(path.lstat().st_mode):
            raise MalformedMessageError("expected a file")
        path.rename(taken)
        with taken.open("rb") as file:
            return file.read(LARGEST_BYTES + 1)

    def _room_for_dead(self) -> Path:
        """The name for one more dead letter; the oldest go."""
        folder = Path(self.data_folder_in).parent / DEAD_LETTERS
        folder.mkdir(exist_ok=True)
        for old in sorted(folder.glob("*.msg"))[: 1 - KEPT_DEAD_LETTERS]:
            if not old.is_dir():
                old.unlink(missing_ok=True)
        return folder / f"{time.time_ns():020d}_{uuid.uuid4()}.msg"

    def _put(self, queue: str, payload: Any, **_options: Any) -> None:  # type: ignore[override]
        """Puts a message into a queue; a higher priority comes first, then the older message."""
        rank = _HIGHEST - self._get_message_priority(payload)
        name = f"{rank}_{time.time_ns():020d}_{uuid.uuid4()}.{queue}.msg"
        target = Path(self.data_folder_out) / name
        new = target.with_suffix(".new")
        new.write_text(json.dumps(payload))
        new.replace(target)

    def get_table(self, exchange: str) -> list[Any]:
        """Each of our queues has an exchange of its own name.

        So nothing needs to be read from a file, which another process may just be writing.
        """
        return [(exchange, "", exchange)]

    def _queue_bind(self, *_arguments: object) -> None:
        """Nothing is kept: see `get_table`."""


class FolderTransport(filesystem.Transport):
    """The transport of such a broker, for Celery's event loop.

    In an event loop, Celery gives each child of a worker a pipe of its own. Without one, all
    children share a lock, and one that is killed while it waits takes that lock with it: no later
    child receives anything.
    """

    Channel = FolderChannel
    implements = filesystem.Transport.implements.extend(asynchronous=True)

    def register_with_event_loop(self, connection: object, loop: Any) -> None:
        """Looks into the folder every `polling_interval` seconds.

        Args:
            connection: not used; the folder is known to the channels.
            loop: kombu's hub, which forgets its timers when the worker connects anew.
        """
        del connection

        def look() -> None:
            with suppress(Empty):
                for _ in range(_MOST_AT_ONCE):
                    if self.cycle is not None:
                        self.cycle.get(self._deliver)

        loop.call_repeatedly(self.polling_interval, look)
