"""How much of the house a command walks through, and that it does not grow unseen."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.rooms import Walk, main

# files entered; more than that is a reason to ask why (docs/performance.md has the figures)
MOST = {"batch run": 142, "learn": 103, "registry compose": 46}


@pytest.mark.slow
def test_commands_enter_no_more_files_than_they_did() -> None:
    result = CliRunner().invoke(main, ["--json"])

    assert result.exit_code == 0, result.output
    walks = {walk["command"]: walk for walk in json.loads(result.stdout)}
    assert walks.keys() == MOST.keys()
    for command, walk in walks.items():
        assert "cli.py" in walk["files"]
        assert len(walk["files"]) <= MOST[command]
        assert walk["imported"] >= len(walk["files"])
    assert "registry/composition/compose.py" in walks["registry compose"]["files"]
    assert not any(file.startswith("engine") for file in walks["registry compose"]["files"])
    assert "batch/evaluation/evaluate.py" not in walks["batch run"]["files"]


def test_rooms_are_the_folders_of_files() -> None:
    walk = Walk("learn", ["batch/a/x.py", "batch/a/y.py", "engine/z.py", "cli.py"], 9)

    assert walk.rooms == {"batch/a", "engine", "."}
