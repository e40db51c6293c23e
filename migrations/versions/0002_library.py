"""Aliases, retirement, sketches, originals, previews, conditions; embeddings bound to generators.

`vectors` is only ever added to, never rebuilt: SQLite's rebuild would drop a table that others
refer to.

Revision: 0002, after 0001
"""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _sort_names("C")
    _create_aliases()
    _create_vector_sketches()
    _add_vector_columns()
    _mark_latest_metrics()
    # in SQL, because both databases take a column with a named CHECK, and alembic's operation does
    # not on SQLite
    op.execute(
        "ALTER TABLE composition_terms ADD COLUMN role VARCHAR(16) DEFAULT 'sum' NOT NULL "
        "CONSTRAINT ck_composition_terms_role CHECK (role IN ('sum', 'condition'))"
    )
    op.add_column("history", sa.Column("details", sa.JSON(), server_default="{}", nullable=False))
    _bind_embeddings_to_generators()
    op.add_column("chunks", sa.Column("worker", sa.String(length=255), nullable=True))


def downgrade() -> None:
    op.drop_column("chunks", "worker")
    _bind_embeddings_to_bundles()
    op.drop_column("history", "details")
    # what a condition took is an ordinary summand to the older release, with the same sum
    op.drop_column("composition_terms", "role")
    op.drop_index("ix_metrics_latest_by_vector", "metrics")
    op.drop_index("ix_metrics_latest", "metrics")
    op.drop_column("metrics", "is_latest")
    op.create_index(op.f("ix_metrics_name_value"), "metrics", ["name", "value"], unique=False)
    op.drop_index("ix_vectors_listing_by_time", "vectors")
    op.drop_index("ix_vectors_listing_by_name", "vectors")
    for column in (
        "retired_at",
        "preview_digest",
        "original_name",
        "original_digest",
        "brush_digest",
        "kernel_version",
        "engine_version",
    ):
        op.drop_column("vectors", column)
    op.drop_table("vector_sketches")
    op.drop_table("aliases")
    _sort_names("default")


_NAMES = {
    "classes": {"name": 100},
    "class_labels": {"name": 100},
    "class_files": {"name": 255},
    "vectors": {"class_name": 100, "name": 100},
    "vector_roi_labels": {"label_name": 100},
    "metrics": {"name": 100, "backbone": 100},
    "vector_tags": {"tag": 100},
    "embeddings": {"perceptual_name": 100},
}
_NAME = sa.String(length=100).with_variant(sa.String(length=100, collation="C"), "postgresql")


def _sort_names(collation: str) -> None:
    """PostgreSQL sorts by its locale; SQLite by code points, which is what "C" stands for."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, names in _NAMES.items():
        for column, length in names.items():
            op.alter_column(table, column, type_=sa.String(length=length, collation=collation))


def _create_aliases() -> None:
    op.create_table(
        "aliases",
        sa.Column("class_name", _NAME, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("alias", _NAME, nullable=False),
        sa.Column("vector_id", sa.Integer(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("set_by", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["vector_id"], ["vectors.id"], name=op.f("fk_aliases_vector_id_vectors")
        ),
        sa.PrimaryKeyConstraint("class_name", "name", "alias", name=op.f("pk_aliases")),
        sa.UniqueConstraint("vector_id", "alias", name=op.f("uq_aliases_vector_id_alias")),
    )
    op.create_index(
        op.f("ix_aliases_alias_vector_id"), "aliases", ["alias", "vector_id"], unique=False
    )


def _create_vector_sketches() -> None:
    op.create_table(
        "vector_sketches",
        sa.Column("vector_id", sa.Integer(), nullable=False),
        sa.Column("sketch", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["vector_id"], ["vectors.id"], name=op.f("fk_vector_sketches_vector_id_vectors")
        ),
        sa.PrimaryKeyConstraint("vector_id", name=op.f("pk_vector_sketches")),
    )


def _add_vector_columns() -> None:
    for column in (
        sa.Column("engine_version", sa.String(length=64), server_default="", nullable=False),
        sa.Column("kernel_version", sa.String(length=64), server_default="", nullable=False),
        sa.Column("brush_digest", sa.String(length=64), nullable=True),
        sa.Column("original_digest", sa.String(length=64), nullable=True),
        sa.Column("original_name", sa.String(length=255), nullable=True),
        sa.Column("preview_digest", sa.String(length=64), nullable=True),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("vectors", column)
    op.create_index(
        "ix_vectors_listing_by_name",
        "vectors",
        ["class_name", "name", "version", "retired_at", "kind", "id"],
        unique=False,
    )
    op.create_index(
        "ix_vectors_listing_by_time",
        "vectors",
        ["created_at", "id", "retired_at", "kind", "class_name", "name", "version"],
        unique=False,
    )


def _mark_latest_metrics() -> None:
    op.add_column(
        "metrics",
        sa.Column("is_latest", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    metrics = sa.table(
        "metrics",
        sa.column("id", sa.Integer),
        sa.column("vector_id", sa.Integer),
        sa.column("name", sa.String),
        sa.column("is_latest", sa.Boolean),
    )
    newest = sa.select(sa.func.max(metrics.c.id)).group_by(metrics.c.vector_id, metrics.c.name)
    op.execute(metrics.update().where(metrics.c.id.in_(newest)).values(is_latest=sa.true()))
    op.drop_index(op.f("ix_metrics_name_value"), "metrics")
    op.create_index(
        "ix_metrics_latest",
        "metrics",
        ["name", "is_latest", "value", "vector_id"],
        unique=False,
    )
    op.create_index(
        "ix_metrics_latest_by_vector",
        "metrics",
        ["name", "is_latest", "vector_id", "value"],
        unique=False,
    )


# --- embeddings: whose latents they are decides, not the bundle that the generator came in ---

_CLASSES = sa.table(
    "classes",
    sa.column("id", sa.Integer),
    sa.column("bundle_digest", sa.String),
    sa.column("generator_digest", sa.String),
)


def _bind_embeddings_to_generators() -> None:
    """The encoder comes from the bundle, so the bundle goes into the key: none meets another."""
    embeddings = sa.table(
        "embeddings", sa.column("bundle_digest", sa.String), sa.column("settings_key", sa.String)
    )
    bundle, key = embeddings.c.bundle_digest, embeddings.c.settings_key
    connection = op.get_bind()
    classes = sa.select(_CLASSES.c.bundle_digest, _CLASSES.c.generator_digest)
    generators = {row.bundle_digest: row.generator_digest for row in connection.execute(classes)}
    for old_bundle, old_key in connection.execute(sa.select(bundle, key).distinct()).all():
        new = {
            bundle: generators.get(old_bundle, old_bundle),
            key: hashlib.sha256((old_key + old_bundle).encode()).hexdigest(),
        }
        of_both = (bundle == old_bundle) & (key == old_key)
        connection.execute(embeddings.update().where(of_both).values(new))
    op.execute("ALTER TABLE embeddings RENAME COLUMN bundle_digest TO generator_digest")


def _bind_embeddings_to_bundles() -> None:
    """To the latest class of the generator; the older release embeds these images anew.

    It computes another key, and a digest cannot be unfolded.
    """
    embeddings = sa.table("embeddings", sa.column("generator_digest", sa.String))
    generator = embeddings.c.generator_digest
    replacement = (
        sa.select(_CLASSES.c.bundle_digest)
        .where(_CLASSES.c.generator_digest == generator)
        .order_by(_CLASSES.c.id.desc())
        .limit(1)
        .correlate(embeddings)
        .scalar_subquery()
    )
    op.execute(
        embeddings.update().values(generator_digest=sa.func.coalesce(replacement, generator))
    )
    op.execute("ALTER TABLE embeddings RENAME COLUMN generator_digest TO bundle_digest")
