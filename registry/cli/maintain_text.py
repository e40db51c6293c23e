"""What people see of verification and gc: texts, printed by the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from editvec.registry.quantities import size_text
from editvec.registry.text_tables import format_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from editvec.registry.maintenance.garbage import GcReport
    from editvec.registry.maintenance.verification import Fault, VerifyReport

_USERS_SHOWN = 3


def verify_text(report: VerifyReport) -> str:
    """The faults as a table, then what was looked at."""
    counts = (
        f"{report.blob_count} blobs ({size_text(report.blob_bytes)}) and {report.vector_count} "
        f"vectors verified"
    )
    if report.unreferenced_count:
        unnamed = size_text(report.unreferenced_bytes)
        counts += f"; {report.unreferenced_count} blobs ({unnamed}) that nothing names"
    if report.is_clean:
        return f"{counts}: all is well"
    rows = [(fault.kind.value, _subject(fault), _detail(fault)) for fault in report.faults]
    return f"{format_table(['fault', 'of', 'what'], rows)}\n{counts}"


def gc_text(report: GcReport) -> str:
    """What went, or would go: a dry run lists it."""
    lines = []
    if report.is_dry_run and (report.blobs or report.leftovers):
        rows = [
            (one.name, one.size, f"{one.modified:%Y-%m-%d %H:%M}")
            for one in (*report.blobs, *report.leftovers)
        ]
        lines.append(format_table(["blob", "bytes", "put"], rows))
    verb = "would delete" if report.is_dry_run else "deleted"
    if report.evicted.count:
        evict = "would evict" if report.is_dry_run else "evicted"
        taken = size_text(report.evicted.bytes)
        lines.append(f"{evict} {report.evicted.count} embeddings ({taken})")
    text = f"{verb} {len(report.blobs)} blobs"
    if report.leftovers:
        text += f" and {len(report.leftovers)} temporary files"
    text += f" ({size_text(report.size)})"
    if report.young.count:
        text += f"; kept {report.young.count} young ones ({size_text(report.young.bytes)})"
    return "\n".join([*lines, text])


def _subject(fault: Fault) -> str:
    """Who suffers: those who name a blob, or the address of a row."""
    if fault.place is None:
        return fault.subject
    return _some(fault.users) or "nothing names it"


def _detail(fault: Fault) -> str:
    return fault.text if fault.place is None else f"{fault.text} ({fault.place})"


def _some(users: Sequence[str]) -> str:
    shown = ", ".join(users[:_USERS_SHOWN])
    rest = len(users) - _USERS_SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown
