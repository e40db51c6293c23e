"""The tables of the library and of the runs.

Revision: 0001, the first
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_classes()
    _create_class_labels()
    _create_class_files()
    _create_vectors()
    _create_vector_roi_labels()
    _create_vector_tags()
    _create_mask_pairs()
    _create_composition_terms()
    _create_metrics()
    _create_embeddings()
    _create_history()
    _create_runs()
    _create_run_inputs()
    _create_chunks()
    _create_run_items()


def downgrade() -> None:
    op.drop_table("run_items")
    op.drop_table("chunks")
    op.drop_table("run_inputs")
    op.drop_table("runs")
    op.drop_table("history")
    op.drop_table("embeddings")
    op.drop_table("metrics")
    op.drop_table("composition_terms")
    op.drop_table("mask_pairs")
    op.drop_table("vector_tags")
    op.drop_table("vector_roi_labels")
    op.drop_table("vectors")
    op.drop_table("class_files")
    op.drop_table("class_labels")
    op.drop_table("classes")


def _create_classes() -> None:
    op.create_table(
        "classes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("generator_digest", sa.String(length=64), nullable=False),
        sa.Column("bundle_digest", sa.String(length=64), nullable=False),
        sa.Column("resolution", sa.Integer(), nullable=False),
        sa.Column("num_ws", sa.Integer(), nullable=False),
        sa.Column("w_dim", sa.Integer(), nullable=False),
        sa.Column("z_dim", sa.Integer(), nullable=False),
        sa.Column("valid_rectangle", sa.JSON(), nullable=False),
        sa.Column("license", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.CheckConstraint(
            "num_ws >= 1 AND w_dim >= 1 AND z_dim >= 1", name=op.f("ck_classes_shape_positive")
        ),
        sa.CheckConstraint("resolution >= 4", name=op.f("ck_classes_resolution_minimum")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_classes_version_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_classes")),
        sa.UniqueConstraint("bundle_digest", name=op.f("uq_classes_bundle_digest")),
        sa.UniqueConstraint("id", "name", name=op.f("uq_classes_id_name")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_classes_name_version")),
    )
    op.create_index(
        op.f("ix_classes_generator_digest"), "classes", ["generator_digest"], unique=False
    )


def _create_class_labels() -> None:
    op.create_table(
        "class_labels",
        sa.Column("class_id", sa.Integer(), nullable=False),
        sa.Column("label_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("red", sa.Integer(), nullable=False),
        sa.Column("green", sa.Integer(), nullable=False),
        sa.Column("blue", sa.Integer(), nullable=False),
        sa.CheckConstraint("label_index >= 0", name=op.f("ck_class_labels_index_not_negative")),
        sa.CheckConstraint(
            "red BETWEEN 0 AND 255 AND green BETWEEN 0 AND 255 AND blue BETWEEN 0 AND 255",
            name=op.f("ck_class_labels_color_range"),
        ),
        sa.ForeignKeyConstraint(
            ["class_id"], ["classes.id"], name=op.f("fk_class_labels_class_id_classes")
        ),
        sa.PrimaryKeyConstraint("class_id", "label_index", name=op.f("pk_class_labels")),
        sa.UniqueConstraint("class_id", "name", name=op.f("uq_class_labels_class_id_name")),
    )


def _create_class_files() -> None:
    op.create_table(
        "class_files",
        sa.Column("class_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("size >= 0", name=op.f("ck_class_files_size_not_negative")),
        sa.ForeignKeyConstraint(
            ["class_id"], ["classes.id"], name=op.f("fk_class_files_class_id_classes")
        ),
        sa.PrimaryKeyConstraint("class_id", "name", name=op.f("pk_class_files")),
    )


def _create_vectors() -> None:
    op.create_table(
        "vectors",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("class_id", sa.Integer(), nullable=False),
        sa.Column("class_name", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("latent_space", sa.String(length=4), nullable=False),
        sa.Column("num_ws", sa.Integer(), nullable=False),
        sa.Column("w_dim", sa.Integer(), nullable=False),
        sa.Column("generator_digest", sa.String(length=64), nullable=False),
        sa.Column("delta_digest", sa.String(length=64), nullable=False),
        sa.Column("content_digest", sa.String(length=64), nullable=False),
        sa.Column("row_mask", sa.String(length=64), nullable=False),
        sa.Column("roi_policy", sa.String(length=16), nullable=False),
        sa.Column("dilation", sa.Integer(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("default_scale", sa.Float(precision=53), nullable=False),
        sa.Column("scale_min", sa.Float(precision=53), nullable=True),
        sa.Column("scale_max", sa.Float(precision=53), nullable=True),
        sa.Column("license", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.CheckConstraint(
            "kind IN ('learned', 'imported', 'composed')", name=op.f("ck_vectors_kind")
        ),
        sa.CheckConstraint(
            "latent_space IN ('Z', 'W', 'W+', 'S')", name=op.f("ck_vectors_latent_space")
        ),
        sa.CheckConstraint(
            "roi_policy IN ('labels', 'brush', 'union')", name=op.f("ck_vectors_roi_policy")
        ),
        sa.CheckConstraint("dilation >= 0", name=op.f("ck_vectors_dilation_not_negative")),
        sa.CheckConstraint("length(row_mask) = num_ws", name=op.f("ck_vectors_row_mask_length")),
        sa.CheckConstraint("num_ws >= 1 AND w_dim >= 1", name=op.f("ck_vectors_shape_positive")),
        sa.CheckConstraint(
            "scale_min IS NULL OR scale_max IS NULL OR scale_min <= scale_max",
            name=op.f("ck_vectors_scale_range"),
        ),
        sa.CheckConstraint("version >= 1", name=op.f("ck_vectors_version_positive")),
        sa.ForeignKeyConstraint(
            ["class_id", "class_name"],
            ["classes.id", "classes.name"],
            name=op.f("fk_vectors_class_id_class_name_classes"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vectors")),
        sa.UniqueConstraint(
            "class_name",
            "name",
            "content_digest",
            name=op.f("uq_vectors_class_name_name_content_digest"),
        ),
        sa.UniqueConstraint(
            "class_name", "name", "version", name=op.f("uq_vectors_class_name_name_version")
        ),
    )
    op.create_index(op.f("ix_vectors_class_id"), "vectors", ["class_id"], unique=False)


def _create_vector_roi_labels() -> None:
    op.create_table(
        "vector_roi_labels",
        sa.Column("vector_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("label_name", sa.String(length=100), nullable=False),
        sa.ForeignKeyConstraint(
            ["vector_id"], ["vectors.id"], name=op.f("fk_vector_roi_labels_vector_id_vectors")
        ),
        sa.PrimaryKeyConstraint("vector_id", "position", name=op.f("pk_vector_roi_labels")),
        sa.UniqueConstraint(
            "vector_id", "label_name", name=op.f("uq_vector_roi_labels_vector_id_label_name")
        ),
    )
    op.create_index(
        op.f("ix_vector_roi_labels_label_name_vector_id"),
        "vector_roi_labels",
        ["label_name", "vector_id"],
        unique=False,
    )


def _create_vector_tags() -> None:
    op.create_table(
        "vector_tags",
        sa.Column("vector_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(length=100), nullable=False),
        sa.ForeignKeyConstraint(
            ["vector_id"], ["vectors.id"], name=op.f("fk_vector_tags_vector_id_vectors")
        ),
        sa.PrimaryKeyConstraint("vector_id", "tag", name=op.f("pk_vector_tags")),
    )
    op.create_index(
        op.f("ix_vector_tags_tag_vector_id"), "vector_tags", ["tag", "vector_id"], unique=False
    )


def _create_mask_pairs() -> None:
    op.create_table(
        "mask_pairs",
        sa.Column("vector_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("image_digest", sa.String(length=64), nullable=False),
        sa.Column("mask_before_digest", sa.String(length=64), nullable=False),
        sa.Column("mask_after_digest", sa.String(length=64), nullable=False),
        sa.Column("source_ws_digest", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["vector_id"], ["vectors.id"], name=op.f("fk_mask_pairs_vector_id_vectors")
        ),
        sa.PrimaryKeyConstraint("vector_id", "position", name=op.f("pk_mask_pairs")),
    )


def _create_composition_terms() -> None:
    op.create_table(
        "composition_terms",
        sa.Column("vector_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("term_vector_id", sa.Integer(), nullable=False),
        sa.Column("scale", sa.Float(precision=53), nullable=False),
        sa.Column("row_mask", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "vector_id <> term_vector_id", name=op.f("ck_composition_terms_not_itself")
        ),
        sa.ForeignKeyConstraint(
            ["term_vector_id"],
            ["vectors.id"],
            name=op.f("fk_composition_terms_term_vector_id_vectors"),
        ),
        sa.ForeignKeyConstraint(
            ["vector_id"], ["vectors.id"], name=op.f("fk_composition_terms_vector_id_vectors")
        ),
        sa.PrimaryKeyConstraint("vector_id", "position", name=op.f("pk_composition_terms")),
    )
    op.create_index(
        op.f("ix_composition_terms_term_vector_id"),
        "composition_terms",
        ["term_vector_id"],
        unique=False,
    )


def _create_metrics() -> None:
    op.create_table(
        "metrics",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("vector_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("backbone", sa.String(length=100), nullable=True),
        sa.Column("sample_count", sa.Integer(), nullable=False),
        sa.Column("probe_set", sa.String(length=200), nullable=True),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "direction IN ('higher', 'lower', 'none')", name=op.f("ck_metrics_direction")
        ),
        sa.CheckConstraint("sample_count >= 1", name=op.f("ck_metrics_sample_count_positive")),
        sa.ForeignKeyConstraint(
            ["vector_id"], ["vectors.id"], name=op.f("fk_metrics_vector_id_vectors")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metrics")),
    )
    op.create_index(op.f("ix_metrics_name_value"), "metrics", ["name", "value"], unique=False)
    op.create_index(op.f("ix_metrics_vector_id"), "metrics", ["vector_id"], unique=False)


def _create_embeddings() -> None:
    op.create_table(
        "embeddings",
        sa.Column("image_digest", sa.String(length=64), nullable=False),
        sa.Column("bundle_digest", sa.String(length=64), nullable=False),
        sa.Column("settings_key", sa.String(length=64), nullable=False),
        sa.Column("ws_digest", sa.String(length=64), nullable=False),
        sa.Column("ws_row", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("perceptual_name", sa.String(length=100), nullable=True),
        sa.Column("perceptual_value", sa.Float(precision=53), nullable=True),
        sa.Column("psnr", sa.Float(precision=53), nullable=False),
        sa.Column("num_steps", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("num_steps >= 0", name=op.f("ck_embeddings_num_steps_not_negative")),
        sa.CheckConstraint("ws_row >= 0", name=op.f("ck_embeddings_ws_row_not_negative")),
        sa.PrimaryKeyConstraint(
            "image_digest", "bundle_digest", "settings_key", name=op.f("pk_embeddings")
        ),
    )
    op.create_index(op.f("ix_embeddings_created_at"), "embeddings", ["created_at"], unique=False)


def _create_history() -> None:
    op.create_table(
        "history",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_history")),
    )
    op.create_index(op.f("ix_history_subject_id"), "history", ["subject", "id"], unique=False)


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("class_address", sa.String(length=255), nullable=False),
        sa.Column("generator_digest", sa.String(length=64), nullable=False),
        sa.Column("bundle_digest", sa.String(length=64), nullable=False),
        sa.Column("input_folder", sa.Text(), nullable=True),
        sa.Column("input_folder_bytes", sa.LargeBinary(), nullable=True),
        sa.Column("output_folder", sa.Text(), nullable=False),
        sa.Column("output_folder_bytes", sa.LargeBinary(), nullable=False),
        sa.Column("output_digest", sa.String(length=64), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("plan_digest", sa.String(length=64), nullable=False),
        sa.Column("input_count", sa.Integer(), nullable=False),
        sa.Column("recipe_count", sa.Integer(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("engine_version", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('batch', 'generate')", name=op.f("ck_runs_kind")),
        sa.CheckConstraint(
            "state IN ('planned', 'running', 'paused', 'completed', "
            "'completed_with_failures', 'cancelled')",
            name=op.f("ck_runs_state"),
        ),
        sa.CheckConstraint("input_count >= 0", name=op.f("ck_runs_input_count")),
        sa.CheckConstraint("recipe_count >= 1", name=op.f("ck_runs_recipe_count")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index("ix_runs_output_digest", "runs", ["output_digest"], unique=False)
    op.create_index(
        "uq_runs_active_output",
        "runs",
        ["output_digest"],
        unique=True,
        sqlite_where=sa.text("state IN ('planned', 'running', 'paused')"),
        postgresql_where=sa.text("state IN ('planned', 'running', 'paused')"),
    )


def _create_run_inputs() -> None:
    op.create_table(
        "run_inputs",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("relative_path", sa.Text(), nullable=False),
        sa.Column("relative_path_bytes", sa.LargeBinary(), nullable=False),
        sa.Column("output_name", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.CheckConstraint("position >= 0", name=op.f("ck_run_inputs_position")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_run_inputs_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "position", name=op.f("pk_run_inputs")),
        sa.UniqueConstraint("run_id", "output_name", name=op.f("uq_run_inputs_output_name")),
    )


def _create_chunks() -> None:
    op.create_table(
        "chunks",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("first_input", sa.Integer(), nullable=False),
        sa.Column("input_count", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.String(length=32), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("processing_began_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner_host", sa.String(length=255), nullable=True),
        sa.Column("owner_pid", sa.Integer(), nullable=True),
        sa.Column("owner_started", sa.String(length=64), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'leased') = (lease_token IS NOT NULL)", name=op.f("ck_chunks_lease")
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'leased', 'done', 'split', 'quarantined', 'cancelled')",
            name=op.f("ck_chunks_state"),
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_chunks_attempts")),
        sa.CheckConstraint("input_count >= 1", name=op.f("ck_chunks_input_count")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_chunks_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunks")),
        sa.UniqueConstraint("run_id", "position", name=op.f("uq_chunks_run_id_position")),
    )
    op.create_index("ix_chunks_run_id_state", "chunks", ["run_id", "state"], unique=False)


def _create_run_items() -> None:
    op.create_table(
        "run_items",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("recipe_position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("content_key", sa.String(length=64), nullable=True),
        sa.Column("file_name", sa.Text(), nullable=True),
        sa.Column("mask_file_name", sa.Text(), nullable=True),
        sa.Column("metrics", sa.JSON(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('done', 'rejected', 'failed', 'quarantined', 'cancelled')",
            name=op.f("ck_run_items_state"),
        ),
        sa.CheckConstraint("recipe_position >= 0", name=op.f("ck_run_items_recipe_position")),
        sa.ForeignKeyConstraint(
            ["run_id", "position"],
            ["run_inputs.run_id", "run_inputs.position"],
            name=op.f("fk_run_items_run_id_run_inputs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "position", "recipe_position", name=op.f("pk_run_items")),
    )
    op.create_index("ix_run_items_run_id_state", "run_items", ["run_id", "state"], unique=False)
