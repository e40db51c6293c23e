"""Where the library lives: home folder, database URL, blob URL.

The only reader of EDITVEC_HOME, EDITVEC_DATABASE_URL and EDITVEC_BLOB_URL.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from editvec.masking import is_url, remember, remember_secret
from editvec.registry.errors import ConfigError

DATABASE_FILE = "editvec.db"
BLOB_FOLDER = "blobs"

# Read by others: libpq, s3fs. They are kept out of what is printed.
_SECRET_VARIABLES = ("PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, kw_only=True)
class RegistryConfig:
    """The three addresses of a library.

    Attributes:
        home: folder of everything that the program keeps for this user; absolute.
        database_url: SQLAlchemy URL of the database.
        blob_url: a folder, or an fsspec URL that all workers see.
    """

    home: Path
    database_url: str = field(repr=False)
    blob_url: str = field(repr=False)

    def __post_init__(self) -> None:
        remember(self.database_url)
        remember(self.blob_url)
        if not self.home.is_absolute():
            raise ConfigError(f"home: expected an absolute path, got {str(self.home)!r}")

    @property
    def is_embedded(self) -> bool:
        """True when the database is the home folder's own SQLite file, which we create."""
        return self.database_url == embedded_database_url(self.home)

    @property
    def bundle_folder(self) -> Path:
        """Where class bundles are laid out as files for the engine."""
        return self.home / "bundles"

    @classmethod
    def for_home(cls, home: Path) -> RegistryConfig:
        """The embedded library of one home folder, whatever the environment says.

        Raises:
            ConfigError: it is a URL.
        """
        if is_url(home):
            raise ConfigError(f"home: expected a folder of this machine, got a URL, {home}")
        absolute = home.expanduser().absolute()
        return cls(
            home=absolute,
            database_url=embedded_database_url(absolute),
            blob_url=str(absolute / BLOB_FOLDER),
        )

    @classmethod
    def from_environment(cls, home: Path | None = None) -> RegistryConfig:
        """Reads the environment; an unset or empty variable means the embedded default.

        Args:
            home: the home folder when the caller was told one; it wins over EDITVEC_HOME.
        """
        for name in _SECRET_VARIABLES:
            remember_secret(os.environ.get(name, ""))
        chosen = home or Path(os.environ.get("EDITVEC_HOME") or "~/.editvec")
        embedded = cls.for_home(chosen)
        return cls(
            home=embedded.home,
            database_url=os.environ.get("EDITVEC_DATABASE_URL") or embedded.database_url,
            blob_url=os.environ.get("EDITVEC_BLOB_URL") or embedded.blob_url,
        )


def embedded_database_url(home: Path) -> str:
    """The URL of the SQLite database in a home folder."""
    return f"sqlite:///{home / DATABASE_FILE}"
