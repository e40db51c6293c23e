"""Which file system a path lies on: SQLite's write-ahead log needs a local one."""

from __future__ import annotations

from pathlib import Path

MOUNT_TABLE = Path("/proc/self/mountinfo")
NETWORK_FILESYSTEMS = frozenset(
    {
        "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs",
        "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
        "ocfs2", "orangefs", "smb2", "smb3", "smbfs",
    }
)  # fmt: skip


def is_network_filesystem(filesystem: str | None) -> bool:
    """True for file systems that several hosts share; None (unknown) counts as local."""
    return filesystem in NETWORK_FILESYSTEMS


def filesystem_of(path: Path) -> str | None:
    """The type of the file system that holds a path, which need not exist yet; None if unknown."""
    try:
        table = MOUNT_TABLE.read_text(errors="surrogateescape")
    except OSError:
        return None
    return filesystem_in_table(path.absolute().resolve(), table)


def filesystem_in_table(path: Path, table: str) -> str | None:
    """Finds the mount that holds `path` in the text of a Linux mountinfo table.

    Args:
        path: absolute, without symbolic links.
        table: as in /proc/self/mountinfo: field 5 is the mount point, and the type follows " - ".
    """
    best: tuple[int, str | None] = (-1, None)
    for line in table.splitlines():
        left, separator, right = line.partition(" - ")
        fields = left.split(" ")
        if not separator or len(fields) < 5:
            continue
        mount = Path(_unescape(fields[4]))
        # of two mounts on one point the later one is on top, hence >=
        if path.is_relative_to(mount) and len(mount.parts) >= best[0]:
            best = (len(mount.parts), right.split(" ")[0])
    return best[1]


def _unescape(field: str) -> str:
    """The kernel writes space, tab, newline and backslash as octal."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
