"""The processes that train one network together under `torchrun`: who they are, and what they tell each other.

Every process draws and augments the whole batch and learns from its share of it; gradients are averaged by
`torch.nn.parallel.DistributedDataParallel`. So the batches, and but for rounding the weights, are those of one process.
The first process leads: it alone writes the run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fer_core.runs import Run, StopRequestedError


@dataclass(frozen=True)
class Team:
    """This process's place among `size` of them; one alone needs no communication at all."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def share(self) -> slice:
        """This process's faces of a batch."""
        return slice(self.rank, None, self.size)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, its gradients averaged over the team. On CUDA batch norm sees the whole batch too; PyTorch has no
        such layer for the CPU, where each process normalises by its own share."""
        if self.size == 1:
            return model
        if next(model.parameters()).is_cuda:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(model)

    def gathered(self, mine: Tensor, n: int) -> Tensor:
        """The rows of all shares, float (n, ...), in the batch's order, from this process's own ones."""
        if self.size == 1:
            return mine
        longest = -(-n // self.size)
        padded = torch.cat([mine, mine.new_zeros(longest - len(mine), *mine.shape[1:])])
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return torch.stack(parts, dim=1).flatten(0, 1)[:n]

    @contextmanager
    def training(self, run: Run) -> Iterator[Callable[..., None]]:
        """`Run.training` for a team: a stop that the leader is asked for stops all of them after the same step."""
        if self.size == 1:
            with run.training() as beat:
                yield beat
        elif self.leads:
            with run.training() as beat:
                yield lambda news=None: self._stop_together(lambda: beat(news))
        else:
            try:
                yield lambda news=None: self._stop_together(lambda: None)  # noqa: ARG005
            except StopRequestedError:
                return

    def _stop_together(self, beat: Callable[[], None]) -> None:
        stop = False
        try:
            beat()
        except StopRequestedError:
            stop = True
        if self.told(stop):
            raise StopRequestedError

    def told(self, value: Any) -> Any:
        """The leader's value, in every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]


@contextmanager
def team_of_torchrun(device: str = "auto") -> Iterator[Team]:
    """The team that `torchrun` started, over NCCL where it computes on CUDA, else over Gloo; a team of one without it.

    device  as for `fit`
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield Team()
        return
    on_cuda = device in ("auto", "cuda") and torch.cuda.is_available()
    if on_cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_cuda else "gloo")
    try:
        yield Team(dist.get_rank(), dist.get_world_size())
        # A thread of Gloo's that still gives back what was sent last, when the interpreter goes, aborts the process.
        dist.barrier()
    finally:
        dist.destroy_process_group()
