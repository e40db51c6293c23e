"""A folder as the broker: kombu's transport, with messages in the order of their priority."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem

_HIGHEST = 9


class Channel(filesystem.Channel):
    """Messages are files, which are taken in the order of their names.

    A file appears by a rename, so that nobody takes half of one.
    """

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


class Transport(filesystem.Transport):
    """The transport of such a broker, for Celery's event loop.

    In an event loop, Celery gives each child of a worker a pipe of its own. Without one, all
    children share a lock, and one that is killed while it waits takes that lock with it: no later
    child receives anything.
    """

    Channel = Channel
    implements = filesystem.Transport.implements.extend(asynchronous=True)

    def register_with_event_loop(self, connection: object, loop: Any) -> None:
        """Looks into the folder every `polling_interval` seconds.

        Args:
            connection: not used; the folder is known to the channels.
            loop: kombu's hub, which forgets its timers when the worker connects anew.
        """
        del connection

        def look() -> None:
            if self.cycle is not None:
                with suppress(Empty):
                    self.cycle.get(self._deliver)

        loop.call_repeatedly(self.polling_interval, look)
