"""Runs measure vectors: another kind of work.

The older release cannot do such runs, so a downgrade forgets them. What they stored with the
vectors stays.

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_BEFORE = "kind IN ('batch', 'generate', 'learn', 'embed')"
_AFTER = "kind IN ('batch', 'generate', 'learn', 'embed', 'evaluate')"


def upgrade() -> None:
    _replace_check(_BEFORE, _AFTER)


def downgrade() -> None:
    runs = sa.table("runs", sa.column("kind", sa.String))
    op.execute(runs.delete().where(runs.c.kind == "evaluate"))
    _replace_check(_AFTER, _BEFORE)


def _replace_check(old: str, new: str) -> None:
    """Replaces the condition on the kind of a run, as revision 0004 does, and says why."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f("ck_runs_kind"), "runs", type_="check")
        op.create_check_constraint(op.f("ck_runs_kind"), "runs", new)
        return
    schema = sa.table(
        "sqlite_master", sa.column("type"), sa.column("name"), sa.column("sql", sa.String)
    )
    of_runs = (schema.c.type == "table") & (schema.c.name == "runs")
    op.execute("PRAGMA writable_schema = ON")
    op.execute(schema.update().where(of_runs).values(sql=sa.func.replace(schema.c.sql, old, new)))
    op.execute("PRAGMA writable_schema = RESET")
    text = op.get_bind().scalar(sa.select(schema.c.sql).where(of_runs))
    if new not in str(text):
        raise RuntimeError("the condition on runs.kind is not what a former release wrote")
