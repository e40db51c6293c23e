"""Who holds a lease: alive, ended, another process of the same number, or elsewhere."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from editvec.batch.runs.owner import Owner, this_host


def test_this_process_is_not_gone_and_a_later_one_of_its_number_would_be() -> None:
    mine = Owner.current()

    assert mine.pid == os.getpid()
    assert mine.name == f"{mine.host.split()[0]}:{os.getpid()}"
    assert not mine.is_gone()
    assert replace(mine, started="1").is_gone()
    # who does not know its time of start is believed to be the one that is there
    assert not replace(mine, started="unknown").is_gone()


def test_a_process_that_ended_is_gone_even_before_its_parent_looked() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    )
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    # the start time is field 22 of the line, as proc(5) says, and the state is field 3
    owner = Owner(this_host(), child.pid, fields[22 - 3])

    assert not owner.is_gone()
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert owner.is_gone()  # a zombie
    child.wait()
    assert owner.is_gone()
    assert replace(owner, started="unknown").is_gone()


def test_nobody_knows_of_processes_elsewhere() -> None:
    mine = Owner.current()

    assert not replace(mine, host="elsewhere pid:[1]", started="1").is_gone()
    assert not replace(mine, host="elsewhere pid:[1]", pid=2**22 + 1).is_gone()
    assert len(this_host()) <= 255
    assert " pid:[" in this_host()
