"""The log of a worker on stderr: one line for each thing that matters to who runs it."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from typing import Any

from celery.exceptions import CPendingDeprecationWarning, Reject, SecurityWarning
from celery.signals import setup_logging

from editvec.masking import masked

_FORMAT = "%(asctime)s %(levelname)s %(message)s"
# What they tell at INFO is about messages and tables; the worker tells about chunks.
_TALKATIVE = ("celery", "kombu", "amqp", "alembic")
_NEVER = ("PIL", "asyncio")  # every block of every file
# Who tells about connections; what tasks fail of comes from elsewhere, with its traceback.
# kombu calls an address by the transport's own name.
_OUR_TRANSPORT = re.compile(r"editvec\.batch\.workers\.(\w+)_transport:\w+://", re.IGNORECASE)
_CONNECTIONS = (
    "celery.worker.consumer",
    "celery.worker.request",
    "celery.worker.strategy",
    "kombu",
)


def log_to_stderr(level: str) -> None:
    """Logs at a level; Celery's own words only where something is wrong, or at DEBUG.

    Args:
        level: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(MaskingFormatter(_FORMAT))
    if level != "DEBUG":
        handler.addFilter(_in_one_line)
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
        # a broker that is back is news
        logging.getLogger("celery.worker.consumer.connection").setLevel(level)
        # it reports every process that ends, planned or not; Celery reports those that matter
        logging.getLogger("multiprocessing").setLevel(logging.CRITICAL)
    for name in _NEVER:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # a receiver tells Celery that logging is set up
    setup_logging.connect(_leave_as_it_is, weak=False)
    # only JSON is accepted, so that a message cannot do more as root than as anybody else
    warnings.simplefilter("ignore", SecurityWarning)


class MaskingFormatter(logging.Formatter):
    """Writes records, tracebacks too, without secrets, whichever library they come from."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        return masked(super().format(record))


def _leave_as_it_is(**_options: Any) -> None:
    pass


def _in_one_line(record: logging.LogRecord) -> bool:
    """Where nobody made a mistake, one line is enough, or none."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, Reject):
        return False  # given back to the broker, by a worker that said why
    text = record.getMessage()
    if CPendingDeprecationWarning.__name__ in text:
        return False
    if record.name.startswith(_CONNECTIONS):
        told = f"{text} ({error})" if error is not None else text
        told = " ".join(told.split()).replace("/None)", ")")
        record.msg = _OUR_TRANSPORT.sub(r"\1://", told)
        record.args, record.exc_info = (), None
    return True
