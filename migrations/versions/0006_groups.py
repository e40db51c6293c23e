"""Groups: a name for several parts of a class.

The older release knows parts only. The ROIs of vectors name parts, so nothing else is lost.

Revision: 0006, after 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    name = sa.String(100).with_variant(sa.String(100, collation="C"), "postgresql")
    op.create_table(
        "class_groups",
        sa.Column("class_id", sa.Integer(), nullable=False),
        sa.Column("name", name, nullable=False),
        sa.Column("members", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["class_id"], ["classes.id"], name=op.f("fk_class_groups_class_id_classes")
        ),
        sa.PrimaryKeyConstraint("class_id", "name", name=op.f("pk_class_groups")),
    )


def downgrade() -> None:
    op.drop_table("class_groups")
