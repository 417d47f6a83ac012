"""Fixtures that all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def fer2013_path() -> Path:
    """The real FER2013 as Parquet, beside the repository where a developer has it."""
    path = ROOT.parent / "shared" / "data" / "fer2013.parquet"
    if not path.exists():
        pytest.skip("FER2013 is not beside the repository (../shared/data/fer2013.parquet)")
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's own cache; all tests share one, so FER2013 is decoded once."""
    monkeypatch.setenv("FER_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
