"""What a run says of where it was made."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from fer_core import provenance
from fer_core.provenance import describe_machine


def commit(monkeypatch: pytest.MonkeyPatch, folder: Path) -> object:
    """The commit that is told where the code lies in `folder`."""
    monkeypatch.setattr(provenance, "__file__", str(folder / "provenance.py"))
    return describe_machine(torch.device("cpu"))["commit"]


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", "-C", folder, *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_and_whether_files_were_changed_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "code.py"
    file.write_text("1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-qm", "a")
    git(tmp_path, "tag", "v1")
    head = git(tmp_path, "rev-parse", "HEAD")[:12]
    assert commit(monkeypatch, tmp_path) == head
    (tmp_path / "untracked").touch()
    assert commit(monkeypatch, tmp_path) == head
    file.write_text("2")
    assert commit(monkeypatch, tmp_path) == f"{head}+changes"


def test_outside_of_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit(monkeypatch, tmp_path) is None
    monkeypatch.setenv("PATH", "")  # no git at all
    assert commit(monkeypatch, tmp_path) is None


def test_the_machine_is_plain_values() -> None:
    machine = describe_machine(torch.device("cpu"))
    assert json.loads(json.dumps(machine)) == machine
    assert machine["torch"] == torch.__version__
    assert machine["device"].startswith("cpu, ")
    assert machine["threads"] == torch.get_num_threads()
