"""Where the library lives."""

from pathlib import Path

import pytest

from editvec.registry.config import RegistryConfig
from editvec.registry.errors import ConfigError


def test_home_holds_everything_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITVEC_HOME", str(tmp_path))
    monkeypatch.setenv("EDITVEC_DATABASE_URL", "")

    config = RegistryConfig.from_environment()

    assert config == RegistryConfig.for_home(tmp_path)
    assert config.is_embedded
    assert config.database_url == f"sqlite:///{tmp_path}/editvec.db"
    assert config.blob_url == f"{tmp_path}/blobs"


def test_environment_names_database_and_blobs_and_the_argument_names_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITVEC_HOME", "/nowhere")
    monkeypatch.setenv("EDITVEC_DATABASE_URL", "postgresql://h/x")
    monkeypatch.setenv("EDITVEC_BLOB_URL", "s3://bucket/blobs")

    config = RegistryConfig.from_environment(tmp_path)

    assert config.home == tmp_path
    assert (config.database_url, config.blob_url) == ("postgresql://h/x", "s3://bucket/blobs")
    assert not config.is_embedded


def test_home_is_absolute_and_knows_the_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDITVEC_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    assert RegistryConfig.from_environment().home == tmp_path / ".editvec"
    assert RegistryConfig.from_environment(Path("here")).home == tmp_path / "here"
    with pytest.raises(ConfigError, match="absolute"):
        RegistryConfig(home=Path("here"), database_url="", blob_url="")
