"""Priority: whose chunks workers take first.

The older release takes them in the order in which they came.

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "runs", sa.Column("priority", sa.String(8), server_default="normal", nullable=False)
    )


def downgrade() -> None:
    op.drop_column("runs", "priority")
