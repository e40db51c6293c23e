"""Which file system a path lies on."""

from pathlib import Path

import pytest

from editvec.registry.errors import DatabaseError
from editvec.registry.tables import sqlite
from editvec.registry.tables.database import open_engine
from editvec.registry.tables.sqlite import filesystem_in_table, filesystem_of, is_network_filesystem

TABLE = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:30 / /home rw,relatime shared:5 - nfs4 server:/home rw,vers=4.2
31 30 0:31 / /home/ada/local rw - xfs /dev/vdb rw
32 22 0:32 / /mnt/my\040share rw master:3 propagate_from:2 - cifs //server/share rw
33 32 0:33 / /mnt/my\040share rw - tmpfs tmpfs rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "filesystem"),
    [
        ("/etc", "ext4"),
        ("/", "ext4"),
        ("/homestead", "ext4"),
        ("/home/ada/.editvec", "nfs4"),
        ("/home/ada/local/x", "xfs"),
        ("/mnt/my share/x", "tmpfs"),
    ],
)
def test_deepest_and_latest_mount_holds_the_path(path: str, filesystem: str) -> None:
    assert filesystem_in_table(Path(path), TABLE) == filesystem


def test_network_file_systems_are_known() -> None:
    assert is_network_filesystem("nfs4")
    assert is_network_filesystem("fuse.sshfs")
    assert not is_network_filesystem("ext4")
    assert not is_network_filesystem("overlay")
    assert not is_network_filesystem(None)


def test_this_machine_is_read(tmp_path: Path) -> None:
    assert filesystem_of(tmp_path / "not" / "there" / "yet") is not None


def test_sqlite_on_a_network_file_system_is_refused_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text("22 1 254:0 / / rw - nfs4 server:/ rw\n")
    monkeypatch.setattr(sqlite, "MOUNT_TABLE", table)

    with pytest.raises(DatabaseError, match=r"network file system \(nfs4\).*EDITVEC_DATABASE_URL"):
        open_engine(f"sqlite:///{tmp_path}/x.db")

    assert not (tmp_path / "x.db").exists()
