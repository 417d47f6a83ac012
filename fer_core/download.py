"""Fetching FER2013 by the official clients of those who host it: `kagglehub` and `huggingface_hub`, an optional extra.

Neither is imported before it is needed, and neither is given anything but the name of the data set: credentials stay
where these clients look for them. What is fetched is for the user to have the right to: `Source.terms` says where to
accept what.
"""

from __future__ import annotations

import importlib
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from fer_core.errors import DataError

INSTALL = 'pip install -e ".[download]"'


@dataclass(frozen=True)
class Source:
    """Somebody who hosts copies of FER2013.

    title        who that is
    client       the Python package that fetches
    name         what is fetched where the user names nothing: of Kaggle a competition, or OWNER/DATASET; of Hugging
                 Face OWNER/DATASET
    uploader     who put that there
    terms        what has to be accepted, and where
    credentials  what the client wants to know, and where it looks for it
    """

    title: str
    client: str
    name: str
    uploader: str
    terms: str
    credentials: str

    def link(self, name: str) -> str:
        """The page of a data set, for people."""
        if self.client == "huggingface_hub":
            return f"https://huggingface.co/datasets/{name}"
        return f"https://www.kaggle.com/{'datasets' if '/' in name else 'competitions'}/{name}"


SOURCES: dict[str, Source] = {
    "kaggle": Source(
        "Kaggle",
        "kagglehub",
        "challenges-in-representation-learning-facial-expression-recognition-challenge",
        "the competition of 2013 itself, with train.csv, test.csv and icml_face_data.csv",
        "Accept the rules on the page's Rules tab, signed in, before you fetch: without that Kaggle refuses. FER2013 "
        "may be used for research and may not be passed on.",
        "An API token from your Kaggle settings, in KAGGLE_API_TOKEN or ~/.kaggle/access_token; the older "
        "KAGGLE_USERNAME with KAGGLE_KEY, or ~/.kaggle/kaggle.json, do as well.",
    ),
    "huggingface": Source(
        "Hugging Face",
        "huggingface_hub",
        "AutumnQiu/fer2013",
        "a user's copy in Parquet with all three splits; nobody vouches that it is unchanged",
        "FER2013 may be used for research and may not be passed on, whatever licence a copy states.",
        "None for a public copy; for one behind a gate a token: `hf auth login`, or HF_TOKEN.",
    ),
}


@dataclass(frozen=True)
class Plan:
    """What is about to be fetched, to be shown before it is."""

    source: Source
    name: str
    target: Path

    def told(self) -> str:
        own = f", {self.source.uploader}" if self.name == self.source.name else ""
        return "\n".join(
            [
                f"From {self.source.title}: {self.name}{own}",
                f"Page: {self.source.link(self.name)}",
                f"Terms: {self.source.terms}",
                f"Credentials: {self.source.credentials}",
                f"Into: {self.target}",
            ]
        )


def plan_download(source: str, name: str | None = None, target: Path = Path("data")) -> Plan:
    """Check all that can be checked before the network is asked.

    name: of another data set of that source; None for the usual one. target: a folder that is empty or not there yet.
    Raises DataError for an unknown source, a name that none can have, a folder with something in it, or where the
    client is not installed.
    """
    if source not in SOURCES:
        raise DataError(f"There is no source '{source}'; choose --from {' or '.join(SOURCES)}.")
    chosen = SOURCES[source]
    wanted = name or chosen.name
    slug = r"[\w.-]+"
    form = f"{slug}/{slug}" if source == "huggingface" else f"({slug}/)?{slug}"
    if not re.fullmatch(form, wanted, re.ASCII) or ".." in wanted:
        raise DataError(f"'{wanted}' is no data set of {chosen.title}; write it as in {chosen.name}.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} is there already and not empty; choose another folder with --out.")
    _client(chosen)
    return Plan(chosen, wanted, target)


def fetch(plan: Plan) -> Path:
    """Fetch into the plan's folder, which is there afterwards with all files in it, or not at all. Gives the folder.

    Raises DataError with what the client said, and what to do about it.
    """
    module = _client(plan.source)
    try:
        plan.target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{plan.target.name}.", dir=plan.target.parent))
    except OSError as error:
        raise DataError(
            f"{plan.target} cannot be made ({error.strerror}); choose another folder with --out."
        ) from error
    try:
        _FETCHERS[plan.source.client](module, plan.name, aside)
        if not any(file.is_file() for file in aside.rglob("*")):
            raise DataError(f"{plan.source.title} sent no file for {plan.name}; look at {plan.source.link(plan.name)}.")
        if plan.target.exists():
            plan.target.rmdir()  # it is empty: `plan_download` looked
        aside.chmod(0o755)
        aside.rename(plan.target)
    except DataError:
        raise
    except Exception as error:  # the clients raise errors of their own, and those of their HTTP library
        raise DataError(_failed(plan, error)) from error
    finally:
        with suppress(OSError):
            shutil.rmtree(aside)
    return plan.target


def _client(source: Source) -> ModuleType:
    try:
        return importlib.import_module(source.client)
    except ImportError:
        raise DataError(f"Fetching from {source.title} needs its client {source.client}: {INSTALL}") from None


def _from_kaggle(kagglehub: ModuleType, name: str, folder: Path) -> None:
    download = kagglehub.dataset_download if "/" in name else kagglehub.competition_download
    download(name, output_dir=str(folder))
    shutil.rmtree(folder / ".complete", ignore_errors=True)  # the client's own notes


def _from_hugging_face(huggingface_hub: ModuleType, name: str, folder: Path) -> None:
    huggingface_hub.snapshot_download(name, repo_type="dataset", local_dir=str(folder))
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's own notes


_FETCHERS: dict[str, Callable[[ModuleType, str, Path], None]] = {
    "kagglehub": _from_kaggle,
    "huggingface_hub": _from_hugging_face,
}


def _failed(plan: Plan, error: Exception) -> str:
    """What went wrong, and the next step: by the answer of the server where there is one."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    steps = {401: plan.source.credentials, 403: plan.source.terms}
    if status == 404:
        step = f"Check the name on {plan.source.link(plan.name)}."
    elif isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno and status is None):
        step = "Check the folder and the network."
    else:
        step = steps.get(status or 0, f"{plan.source.terms} {plan.source.credentials}")
    return f"{plan.source.title} could not be asked for {plan.name} ({reason}). {step}"
