"""Groups of a class: names that stand for several of its parts wherever a part may stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Engine

from editvec.registry.addresses import check_name, quote
from editvec.registry.entities.classes import ClassModel
from editvec.registry.errors import LabelNotFoundError, RecordError
from editvec.registry.labels.label import MAX_GROUPS, expand_parts
from editvec.registry.library import selects
from editvec.registry.library.records import class_model, history_row
from editvec.registry.tables.database import serialise, transaction
from editvec.registry.tables.models import ClassGroupRow


class ClassGroups:
    """The part of the library that keeps the groups of classes."""

    engine: Engine

    def set_groups(
        self, address: str | None, groups: Mapping[str, Sequence[str]], *, reason: str = ""
    ) -> ClassModel:
        """Names groups of a class's parts; groups of other names stay.

        Args:
            address: `class@version`; `class` means the latest version, None the only class.
            groups: members by name: parts or groups. One without members is removed.
            reason: why, for the history.

        Returns:
            The class with its groups.

        Raises:
            ClassNotFoundError: no such class.
            LabelNotFoundError: a member is no part and no group, or a group holds itself; or a
                group shall be removed that there is not, or that another one holds.
            RecordError: a part has that name.
            InvalidNameError: no name.

        Example:
            >>> library.set_groups("avatars", {"lips": ["mouth", "teeth"]}).parts(["lips"])
            ('mouth', 'teeth')
        """
        from editvec.registry.library.inserts import current_user

        with transaction(self.engine) as session:
            serialise(session, "classes")
            row = selects.find_class(session, address)
            model = class_model(row)
            wanted = _changed(model, groups)
            held = {group.name: group for group in row.groups}
            for name, members in groups.items():
                if not members:
                    session.delete(held[name])
                elif name in held:
                    held[name].members = list(wanted[name])
                else:
                    row.groups.append(ClassGroupRow(name=name, members=list(wanted[name])))
            if wanted != model.groups:
                details = {"groups": {name: list(groups[name]) for name in groups}}
                change = history_row(
                    "set groups", model.address, by=current_user(), reason=reason, details=details
                )
                session.add(change)
            session.flush()
            session.refresh(row, ["groups"])
            return class_model(row)


def _changed(model: ClassModel, groups: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """All groups that the class shall have, checked."""
    wanted = dict(model.groups)
    for name, members in groups.items():
        check_name(name, of="group name")
        if name in model.label_names:
            raise RecordError(f"group {quote(name)}: class {model.address} has a part of that name")
        if members:
            wanted[name] = tuple(dict.fromkeys(members))
        elif wanted.pop(name, None) is None:
            raise LabelNotFoundError(f"class {model.address} has no group {quote(name)}")
    if len(wanted) > MAX_GROUPS:
        raise RecordError(
            f"class {model.address}: expected at most {MAX_GROUPS} groups, got {len(wanted)}"
        )
    expand_parts(wanted, model.label_names, wanted, of=f"class {model.address}")
    return wanted
