"""data get: against stand-ins of the two clients, and the real clients' signatures; nothing asks the network."""

from __future__ import annotations

import inspect
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fer_core.__main__ import main
from fer_core.download import SOURCES, fetch, plan_download
from fer_core.errors import DataError

DEMO = Path(__file__).parent.parent / "fer_core" / "data" / "demo" / "demo_faces.parquet"
COMPETITION = "challenges-in-representation-learning-facial-expression-recognition-challenge"


class Clients:
    """Stand-ins that note how they are called, and put files where they are asked to, as the real ones do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.error: BaseException | None = None
        self.sends: Callable[[Path], None] = lambda folder: (folder / "train.csv").write_text(csv()) and None
        kaggle, hub = ModuleType("kagglehub"), ModuleType("huggingface_hub")
        kaggle.dataset_download = self.function("dataset_download", "output_dir", ".complete")  # type: ignore[attr-defined]
        kaggle.competition_download = self.function("competition_download", "output_dir", ".complete")  # type: ignore[attr-defined]
        hub.snapshot_download = self.function("snapshot_download", "local_dir", ".cache")  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "kagglehub", kaggle)
        monkeypatch.setitem(sys.modules, "huggingface_hub", hub)

    def function(self, name: str, place: str, notes: str) -> Callable[..., str]:
        def download(*positional: Any, **named: Any) -> str:
            self.calls.append((name, positional, named))
            folder = Path(named[place])
            self.sends(folder)
            (folder / notes).mkdir()
            (folder / notes / "note").write_text("the client's own")
            if self.error is not None:
                raise self.error
            return str(folder)

        return download


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Clients:
    return Clients(monkeypatch)


def csv() -> str:
    rows = [f"{i % 7},{' '.join(['128'] * 2304)}" for i in range(14)]
    return "\n".join(["emotion,pixels", *rows, ""])


def refused(status: int, reason: str = "refused") -> OSError:
    """As both clients' HTTP errors: an OSError with the server's answer."""
    error = OSError(reason)
    error.response = SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
    return error


def test_the_real_clients_take_what_they_are_given() -> None:
    import huggingface_hub
    import kagglehub

    for function in (kagglehub.dataset_download, kagglehub.competition_download):
        inspect.signature(function).bind("owner/name", output_dir="data")
    inspect.signature(huggingface_hub.snapshot_download).bind("owner/name", repo_type="dataset", local_dir="data")


def test_the_real_kaggle_client_looks_where_it_is_said_to(monkeypatch: Any, tmp_path: Path) -> None:
    """What the plan tells of credentials is what kagglehub reads."""
    from kagglehub import config

    told = SOURCES["kaggle"].credentials
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert config.get_kaggle_credentials() is None
    monkeypatch.setenv("KAGGLE_API_TOKEN", "secret")
    assert config.get_kaggle_credentials().api_key == "secret"
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle" / "access_token").write_text("other")
    assert config.get_kaggle_credentials().api_key == "other"
    assert all(place in told for place in ("KAGGLE_API_TOKEN", "~/.kaggle/access_token", "~/.kaggle/kaggle.json"))


@pytest.mark.parametrize(
    ("source", "name", "function", "place"),
    [
        ("kaggle", None, "competition_download", "output_dir"),
        ("kaggle", "msambare/fer2013", "dataset_download", "output_dir"),
        ("kaggle", "other-competition", "competition_download", "output_dir"),
        ("huggingface", None, "snapshot_download", "local_dir"),
        ("huggingface", "someone/fer", "snapshot_download", "local_dir"),
    ],
)
def test_the_client_is_asked_for_the_right_thing(
    clients: Clients, tmp_path: Path, source: str, name: str | None, function: str, place: str
) -> None:
    folder = fetch(plan_download(source, name, tmp_path / "data"))
    ((called, positional, named),) = clients.calls
    assert called == function
    assert positional == (name or SOURCES[source].name,)
    assert set(named) == {place} | ({"repo_type"} if source == "huggingface" else set())
    assert named.get("repo_type", "dataset") == "dataset"
    assert folder == tmp_path / "data"
    assert [path.name for path in folder.iterdir()] == ["train.csv"]  # without the client's own notes
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_empty_folder_is_filled(clients: Clients, tmp_path: Path) -> None:  # noqa: ARG001
    (tmp_path / "data").mkdir()
    assert (fetch(plan_download("kaggle", None, tmp_path / "data")) / "train.csv").is_file()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refused(403, "You must accept this competition's rules"), ["accept this competition's rules", "Rules tab"]),
        (refused(401), ["KAGGLE_API_TOKEN"]),
        (refused(404), [f"Check the name on https://www.kaggle.com/competitions/{COMPETITION}."]),
        (PermissionError(13, "Permission denied"), ["Permission denied", "Check the folder and the network."]),
        (ValueError("User is not authenticated"), ["not authenticated", "Rules tab", "KAGGLE_API_TOKEN"]),
    ],
)
def test_a_refusal_says_what_to_do(clients: Clients, tmp_path: Path, error: Exception, words: list[str]) -> None:
    clients.error = error
    with pytest.raises(DataError) as told:
        fetch(plan_download("kaggle", None, tmp_path / "data"))
    assert all(word in str(told.value) for word in words), str(told.value)
    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir()), "half of a download was left"


def test_the_real_clients_errors_have_an_answer() -> None:
    """Both raise an OSError that carries `response`: what the sentences above are chosen by."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError
    from kagglehub.exceptions import KaggleApiHTTPError

    answer: Any = SimpleNamespace(status_code=403, request=None, headers={})
    assert KaggleApiHTTPError("no", response=answer).response.status_code == 403
    assert issubclass(GatedRepoError, HfHubHTTPError)
    assert "response" in inspect.signature(HfHubHTTPError.__init__).parameters


def test_a_stop_leaves_nothing(clients: Clients, tmp_path: Path) -> None:
    clients.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        fetch(plan_download("huggingface", None, tmp_path / "data"))
    assert not list(tmp_path.iterdir())


def test_nothing_sent_is_an_error(clients: Clients, tmp_path: Path) -> None:
    clients.sends = lambda _: None
    with pytest.raises(DataError, match="sent no file for AutumnQiu/fer2013; look at https://huggingface"):
        fetch(plan_download("huggingface", None, tmp_path / "data"))
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(clients: Clients, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("mine")
    with pytest.raises(DataError, match="not empty; choose another folder with --out"):
        plan_download("kaggle", None, tmp_path)
    with pytest.raises(DataError, match="not empty"):
        plan_download("kaggle", None, tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_text() == "mine"
    assert not clients.calls


@pytest.mark.parametrize(
    ("source", "name"),
    [("kaggle", "a/b/c"), ("kaggle", "a b"), ("kaggle", "../x"), ("huggingface", "fer2013"), ("huggingface", "a/../b")],
)
def test_a_name_that_none_can_have(clients: Clients, tmp_path: Path, source: str, name: str) -> None:
    with pytest.raises(DataError, match=r"is no data set of .*; write it as in "):
        plan_download(source, name, tmp_path / "data")
    assert not clients.calls


def test_without_the_client_the_extra_is_named(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(DataError, match=r'needs its client kagglehub: pip install -e "\.\[download\]"'):
        plan_download("kaggle", None, tmp_path / "data")


def test_the_extra_that_is_named_is_there() -> None:
    import tomllib

    project = tomllib.loads((DEMO.parents[3] / "pyproject.toml").read_text())["project"]
    names = {requirement.partition(">")[0] for requirement in project["optional-dependencies"]["download"]}
    assert names == {source.client for source in SOURCES.values()}


# -- the command -----------------------------------------------------------------------------------


def run(*arguments: object) -> str:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return "" if end.code in (0, None) else str(end.code)
    return ""


def test_get_tells_fetches_and_describes(clients: Clients, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("data", "get", "--from", "kaggle", "--yes") == ""
    told = capsys.readouterr().out
    head, _, described = told.partition("data: 14 faces")
    assert described, told
    for part in (COMPETITION, "https://www.kaggle.com/competitions/", "Terms:", "Credentials:", "Into: data"):
        assert part in head
    assert (tmp_path / "data" / "train.csv").is_file()
    assert len(clients.calls) == 1
    assert run("data") == ""  # and it is found there from now on
    assert "data: 14 faces" in capsys.readouterr().out


def test_nothing_is_fetched_without_a_yes(clients: Clients, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run("data", "get", "--from", "huggingface", "--out", tmp_path / "data") == "1"
    assert "https://huggingface.co/datasets/AutumnQiu/fer2013" in capsys.readouterr().out
    assert not clients.calls
    assert not list(tmp_path.iterdir())


def test_a_parquet_copy_opens(clients: Clients, tmp_path: Path, capsys: Any) -> None:
    """As a copy on Hugging Face lies: below a folder, beside a README."""

    def send(folder: Path) -> None:
        (folder / "data").mkdir()
        shutil.copy(DEMO, folder / "data" / "train-00000-of-00001.parquet")
        (folder / "README.md").write_text("# FER2013")

    clients.sends = send
    assert run("data", "get", "--from", "huggingface", "--out", tmp_path / "fer", "--yes") == ""
    assert "2,240 faces" in capsys.readouterr().out


def test_what_came_but_cannot_be_read_stays(clients: Clients, tmp_path: Path) -> None:
    clients.sends = lambda folder: (folder / "readme.txt").write_text("x") and None
    assert "holds no faces" in run("data", "get", "--from", "kaggle", "--out", tmp_path / "fer", "--yes")
    assert (tmp_path / "fer" / "readme.txt").is_file()


def test_data_takes_a_path_as_before(capsys: Any) -> None:
    assert run("data", DEMO) == ""
    first = capsys.readouterr().out
    assert "2,240 faces" in first
    assert run("data", "--label-order", "csv", DEMO) == ""
    assert run("data", "show", DEMO) == ""
    assert "missing.csv does not exist" in run("data", "missing.csv")
    assert "There is no source 'nowhere'; choose --from kaggle or huggingface." in run(
        "data", "get", "--from", "nowhere"
    )


def test_a_folder_called_get_can_be_shown(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "get").mkdir()
    (tmp_path / "get" / "train.csv").write_text(csv())
    assert run("data", "./get") == ""
    assert "14 faces" in capsys.readouterr().out
