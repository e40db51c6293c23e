"""Other work: runs learn vectors and embed images; an input has a job, an item has a result.

The older release cannot do such runs, so a downgrade forgets them. What they added to the library
stays.

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BEFORE = "kind IN ('batch', 'generate')"
_AFTER = "kind IN ('batch', 'generate', 'learn', 'embed')"


def upgrade() -> None:
    _replace_check(_BEFORE, _AFTER)
    op.add_column("run_inputs", sa.Column("job", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("run_items", sa.Column("result", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("run_items", "result")
    op.drop_column("run_inputs", "job")
    runs = sa.table("runs", sa.column("kind", sa.String))
    op.execute(runs.delete().where(runs.c.kind.in_(("learn", "embed"))))
    _replace_check(_AFTER, _BEFORE)


def _replace_check(old: str, new: str) -> None:
    """Replaces the condition on the kind of a run.

    SQLite cannot alter a constraint, and a rebuild would drop `runs`, to whose rows others refer:
    they would go with it. So its text is edited, as SQLite's documentation of ALTER TABLE
    describes for changes that touch no stored row.
    """
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
