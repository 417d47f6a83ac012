"""Where a run was made: library versions, git commit and hardware, for its run.json."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch

import fer_core


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Versions, commit (None outside a git checkout) and hardware as plain values."""
    return {
        "fer_core": fer_core.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "commit": _commit(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {_processor()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def _commit() -> str | None:
    """The commit's hash, with "+changes" where a tracked file is not as committed."""
    describe = ["describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+changes"]
    command = ["git", "-C", str(Path(__file__).parent), *describe]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    """The processor's name where the system tells, else its architecture."""
    name = str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine())
    return f"{name} ({platform.machine()})"
