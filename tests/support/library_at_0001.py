"""A full library of the first release: every table, with every column in use."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

Row = dict[str, Any]
Content = dict[str, list[Row]]

START = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def digest(name: str) -> str:
    """The digest that stands for something named."""
    return hashlib.sha256(name.encode()).hexdigest()


def at(minute: int) -> datetime:
    """An instant with microseconds."""
    return START + timedelta(minutes=minute)


# two bundles hold one generator, a third holds its own
BUNDLES = {digest("bundle 1"): digest("generator 1"), digest("bundle 2"): digest("generator 1"),
           digest("bundle 3"): digest("generator 3")}  # fmt: skip


def _class_row(key: int, name: str, version: int, generator: str) -> Row:
    return {
        "id": key,
        "name": name,
        "version": version,
        "generator_digest": digest(generator),
        "bundle_digest": digest(f"bundle {key}"),
        "resolution": 512,
        "num_ws": 4,
        "w_dim": 512,
        "z_dim": 64,
        "valid_rectangle": [0, 64, 512, 448],
        "license": "Apache-2.0",
        "description": "Gesichter: ä, 顔, \N{GRINNING FACE}\nzwei Zeilen",
        "created_at": at(key),
        "created_by": "Ada O'Hara",
    }


def _vector_row(key: int, name: str, version: int, **changes: Any) -> Row:
    row = {
        "id": key,
        "class_id": 1,
        "class_name": "avatars",
        "name": name,
        "version": version,
        "kind": "learned",
        "latent_space": "W+",
        "num_ws": 4,
        "w_dim": 512,
        "generator_digest": digest("generator 1"),
        "delta_digest": digest(f"delta {key}"),
        "content_digest": digest(f"content {key}"),
        "row_mask": "0110",
        "roi_policy": "labels",
        "dilation": 3,
        "settings": {"steps": 100, "weights": {"lpips": 0.1, "ä": None}, "seeds": [1, 2]},
        "default_scale": 0.1,
        "scale_min": -1.5,
        "scale_max": 1 / 3,
        "license": "CC-BY-4.0",
        "description": "",
        "created_at": at(10 + key),
        "created_by": "ada",
    }
    return {**row, **changes}


def _metric_row(key: int, vector: int, name: str, value: float, **changes: Any) -> Row:
    row = {
        "id": key,
        "vector_id": vector,
        "name": name,
        "value": value,
        "direction": "lower",
        "backbone": None,
        "sample_count": 64,
        "probe_set": None,
        "settings": {},
        "measured_at": at(100 - key),
    }
    return {**row, **changes}


def _embedding_row(image: str, bundle: str, minute: int, **changes: Any) -> Row:
    row = {
        "image_digest": digest(image),
        "bundle_digest": digest(bundle),
        "settings_key": digest("100 steps"),
        "ws_digest": digest(f"ws of {image} by {bundle}"),
        "ws_row": 3,
        "size": 2**40,
        "perceptual_name": "lpips-alex",
        "perceptual_value": 0.123456789012345,
        "psnr": 31.25,
        "num_steps": 100,
        "created_at": at(minute),
    }
    return {**row, **changes}


def _run_row(key: str, state: str, **changes: Any) -> Row:
    row = {
        "id": key,
        "kind": "batch",
        "state": state,
        "reason": None,
        "class_address": "avatars@1",
        "generator_digest": digest("generator 1"),
        "bundle_digest": digest("bundle 1"),
        "input_folder": "/in/\\xff",
        "input_folder_bytes": b"/in/\xff",
        "output_folder": "/out",
        "output_folder_bytes": b"/out",
        "output_digest": digest(f"/out {key}"),
        "plan": {"recipes": [{"terms": [["avatars/smile@1", 0.8]]}]},
        "plan_digest": digest(f"plan {key}"),
        "input_count": 2,
        "recipe_count": 1,
        "counts": None,
        "cancel_requested": False,
        "engine_version": "editvec 0.1.0",
        "created_at": at(200),
        "started_at": None,
        "finished_at": None,
    }
    return {**row, **changes}


def _chunk_row(key: int, position: int, state: str, **changes: Any) -> Row:
    row = {
        "id": key,
        "run_id": "a" * 32,
        "position": position,
        "first_input": position,
        "input_count": 1,
        "state": state,
        "attempts": 0,
        "lease_token": None,
        "lease_expires_at": None,
        "processing_began_at": None,
        "owner_host": None,
        "owner_pid": None,
        "owner_started": None,
        "published_at": None,
        "finished_at": None,
    }
    return {**row, **changes}


def _item_row(position: int, state: str, **changes: Any) -> Row:
    row = {
        "run_id": "a" * 32,
        "position": position,
        "recipe_position": 0,
        "state": state,
        "reason": None,
        "content_key": None,
        "file_name": None,
        "mask_file_name": None,
        "metrics": None,
        "finished_at": at(203),
    }
    return {**row, **changes}


FIRST: Content = {
    "classes": [
        _class_row(1, "avatars", 1, "generator 1"),
        _class_row(2, "avatars", 2, "generator 1"),
        _class_row(3, "cars", 1, "generator 3"),
    ],
    "class_labels": [
        {"class_id": 1, "label_index": 0, "name": "background", "red": 0, "green": 0, "blue": 0},
        {"class_id": 1, "label_index": 7, "name": "mouth", "red": 255, "green": 1, "blue": 2},
        {"class_id": 3, "label_index": 0, "name": "wheel", "red": 9, "green": 8, "blue": 7},
    ],
    "class_files": [
        {"class_id": 1, "name": "generator.safetensors", "digest": digest("g"), "size": 2**33},
        {"class_id": 2, "name": "generator.safetensors", "digest": digest("g"), "size": 2**33},
    ],
    "vectors": [
        _vector_row(1, "smile", 1),
        _vector_row(2, "smile", 2, scale_min=None, scale_max=None, settings={}),
        _vector_row(3, "age", 1, kind="imported", latent_space="W", roi_policy="union"),
        _vector_row(4, "old-smile", 1, kind="composed", description="0.5 smile - 0.001 age"),
        _vector_row(
            5, "wide", 1, class_id=3, class_name="cars", generator_digest=digest("generator 3")
        ),
    ],
    "vector_roi_labels": [
        {"vector_id": 1, "position": 0, "label_name": "mouth"},
        {"vector_id": 1, "position": 1, "label_name": "background"},
        {"vector_id": 5, "position": 0, "label_name": "wheel"},
    ],
    "vector_tags": [
        {"vector_id": 1, "tag": "face"},
        {"vector_id": 1, "tag": "starter"},
    ],
    "mask_pairs": [
        {
            "vector_id": 1,
            "position": position,
            "image_digest": digest(f"image {position}"),
            "mask_before_digest": digest(f"before {position}"),
            "mask_after_digest": digest(f"after {position}"),
            "source_ws_digest": source,
        }
        for position, source in enumerate((None, digest("source ws")))
    ],
    "composition_terms": [
        {"vector_id": 4, "position": 0, "term_vector_id": 1, "scale": 0.5, "row_mask": "0110"},
        {"vector_id": 4, "position": 1, "term_vector_id": 3, "scale": -0.001, "row_mask": "0100"},
    ],
    "metrics": [
        _metric_row(1, 1, "leakage", 0.04, backbone="vgg16", probe_set="avatars@1 seeds 0-63"),
        _metric_row(2, 1, "leakage", 0.03, settings={"threshold": 0.05}),
        _metric_row(3, 1, "identity", 0.97, direction="higher"),
        _metric_row(4, 2, "leakage", 1e-300),
        _metric_row(5, 1, "leakage", 0.035, direction="none"),
    ],
    "embeddings": sorted(
        [
            # the same image, settings and generator, by the encoders of two bundles
            _embedding_row("image 0", "bundle 1", 50),
            _embedding_row("image 0", "bundle 2", 40, perceptual_name=None, perceptual_value=None),
            _embedding_row("image 0", "bundle 2", 40, settings_key=digest("20 steps")),
            _embedding_row("image 1", "bundle 3", 40),
            _embedding_row("image 1", "a bundle that nobody knows", 40),
        ],
        key=lambda row: (row["image_digest"], row["bundle_digest"], row["settings_key"]),
    ),
    "history": [
        {
            "id": key,
            "at": at(key),
            "by": "ada",
            "action": action,
            "subject": subject,
            "reason": reason,
        }
        for key, action, subject, reason in (
            (1, "add", "avatars@1", ""),
            (2, "add", "avatars/smile@1", "für die Demo; ' \" \\ %"),
            (3, "import", "avatars/age@1", "from age.editvec.zip"),
            (7, "compose", "avatars/old-smile@1", ""),
        )
    ],
    "runs": [
        _run_row("a" * 32, "running", started_at=at(201)),
        _run_row(
            "b" * 32,
            "completed_with_failures",
            kind="generate",
            input_folder=None,
            input_folder_bytes=None,
            reason="1 failed",
            counts={"done": 1, "failed": 1},
            cancel_requested=True,
            started_at=at(201),
            finished_at=at(209),
        ),
        _run_row("c" * 32, "planned"),
    ],
    "run_inputs": [
        {
            "run_id": "a" * 32,
            "position": position,
            "relative_path": f"{position}\\xfe.png",
            "relative_path_bytes": b"%d\xfe.png" % position,
            "output_name": f"{position}.png",
            "size": 2**35 if position == 0 else None,
            "mtime_ns": 2**62 if position == 0 else None,
            "seed": None if position == 0 else 2**62 + 1,
            "digest": digest("file") if position == 0 else None,
        }
        for position in range(3)
    ],
    "chunks": [
        _chunk_row(1, 0, "done", finished_at=at(204), published_at=at(201)),
        _chunk_row(
            2,
            1,
            "leased",
            attempts=2,
            lease_token="t" * 32,
            lease_expires_at=at(210),
            processing_began_at=at(203),
            owner_host="host",
            owner_pid=2**22,
            owner_started="1234567",
        ),
        _chunk_row(9, 2, "pending"),
    ],
    "run_items": [
        _item_row(
            0,
            "done",
            content_key=digest("key"),
            file_name="0.png",
            mask_file_name="0.mask.png",
            metrics={"psnr": 30.5},
        ),
        _item_row(1, "rejected", reason="moved"),
    ],
}  # fmt: skip
