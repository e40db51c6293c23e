"""Writes the present digests of the images into deploy/: `python deploy/pin_images.py`.

Each image keeps its tag, `postgres:17.11`; the digest after it is asked of its registry by
`docker buildx imagetools`. To go to another release, change the tag first.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FILES = ("compose.yaml", "Dockerfile")
# ours, `image: editvec`, has no tag: it is built here
_IMAGE = re.compile(
    r"^(?P<before>\s*image: |FROM )(?P<tag>[\w./-]+:[\w.-]+)(?:@\S+)?(?P<after>.*)$", re.MULTILINE
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(tag: str) -> str:
    """The digest of an image for all machines, as its registry has it now.

    Raises:
        SystemExit: docker cannot tell.
    """
    words = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", tag]
    try:
        asked = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SystemExit(f"{tag}: docker is not installed, so no digest can be asked for") from None
    digest = asked.stdout.strip()
    if asked.returncode != 0 or _DIGEST.fullmatch(digest) is None:
        raise SystemExit(f"{tag}: expected a digest, got {asked.stderr.strip() or digest!r}")
    return digest


def main() -> None:
    """Asks for all digests, then writes the files that changed."""
    folder = Path(__file__).parent
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in FILES}
    tags = sorted({match["tag"] for text in texts.values() for match in _IMAGE.finditer(text)})
    digests = {tag: digest_of(tag) for tag in tags}
    for name, text in texts.items():
        pinned = _IMAGE.sub(
            lambda match: (
                f"{match['before']}{match['tag']}@{digests[match['tag']]}{match['after']}"
            ),
            text,
        )
        if pinned != text:
            (folder / name).write_text(pinned, encoding="utf-8")
    for tag, digest in digests.items():
        sys.stdout.write(f"{tag} {digest}\n")


if __name__ == "__main__":
    main()
