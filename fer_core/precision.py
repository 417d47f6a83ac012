"""Where bfloat16 pays: on processors that compute in it. On others it is emulated, many times slower than float32."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 autocast where it is asked for ("bf16"), or ("auto") where the processor computes in it."""
    enabled = precision == "bf16" or (precision == "auto" and has_fast_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def convolve_in_float32() -> None:
    """From now on, in this process: CUDA's convolutions of float32 numbers, which cuDNN else rounds to TF32."""
    torch.backends.cudnn.allow_tf32 = False


@cache
def has_fast_bf16(device: torch.device) -> bool:
    """Does this device compute in bfloat16 natively?"""
    if device.type == "cpu":
        features = torch.cpu.get_capabilities()
        return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
