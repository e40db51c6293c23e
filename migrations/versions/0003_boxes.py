"""Boxes: an input can be an object inside a picture.

The older release takes such an input for the whole picture: finish or cancel these runs before a
downgrade.

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run_inputs", sa.Column("box", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("run_inputs", "box")
