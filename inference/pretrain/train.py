"""Run the training loop: schedule, checkpoints, held-out loss."""

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor
from torch.nn import functional

from inference.pretrain.decoder import Decoder, DecoderConfig
from inference.pretrain.muon import Muon
from inference.pretrain.text import Batches, held_out_windows


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hold everything that decides the weights besides the corpus.

    The learning rate rises for `warmup` steps, stays, and falls along half a cosine to zero over
    the last `decay` of `steps`, so a run can be lengthened without being started again.
    """

    steps: int
    decay: int
    warmup: int = 60
    rows: int = 4
    context: int = 512
    matrix_lr: float = 3e-3
    other_lr: float = 3e-3
    weight_decay: float = 0.1
    momentum: float = 0.95
    clip: float = 1.0
    seed: int = 20_250_131
    bfloat16: bool = True

    def lr_scale(self, step: int) -> float:
        """Return the learning rate of a step as a share of its peak."""
        rise = min(1.0, (step + 1) / self.warmup)
        fall = max(0, step - (self.steps - self.decay)) / self.decay
        return rise * (0.5 + 0.5 * math.cos(math.pi * min(1.0, fall)))


@dataclass(slots=True)
class History:
    """Hold the loss curves in nats per token, by step, and the seconds spent."""

    train: list[tuple[int, float]] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0


class Trainer:
    """Own the model, its optimisers and their progress."""

    def __init__(self, config: DecoderConfig, recipe: Recipe, train: Tensor, held: Tensor) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.model = Decoder(config)
        self.step = 0
        self.history = History()
        self.corpus_tokens = len(train)
        self._held = held
        self._batches = Batches(train, recipe.context, recipe.rows, recipe.seed)
        matrices = [p for n, p in self.model.named_parameters() if p.dim() == 2 and "layers" in n]
        others = [p for n, p in self.model.named_parameters() if p.dim() != 2 or "layers" not in n]
        self._muon = Muon(matrices, recipe.matrix_lr, recipe.momentum, recipe.weight_decay)
        self._adam = torch.optim.AdamW(
            others, recipe.other_lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True
        )

    def _loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16):
            logits = self.model(inputs)
        return functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    def take_step(self) -> float:
        """Learn from the next batch; return its loss in nats per token."""
        scale = self.recipe.lr_scale(self.step)
        loss = self._loss(*self._batches[self.step])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        for optimiser, peak in (
            (self._muon, self.recipe.matrix_lr),
            (self._adam, self.recipe.other_lr),
        ):
            for group in optimiser.param_groups:
                group["lr"] = peak * scale
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return loss.item()

    @torch.no_grad()
    def held_out_loss(self, limit: int = 1 << 30) -> float:
        """Return the mean loss, nats per token, over at most `limit` held-out windows."""
        total, count = 0.0, 0
        for inputs, targets in held_out_windows(self._held, self.recipe.context, self.recipe.rows):
            total += self._loss(inputs, targets).item() * len(inputs)
            count += len(inputs)
            if count >= limit:
                break
        return total / count

    def save(self, path: Path) -> None:
        """Write a checkpoint; the old one stays until the new one is whole."""
        partial = path.with_suffix(".partial")
        state = {
            "model": self.model.state_dict(),
            "muon": self._muon.state_dict(),
            "adam": self._adam.state_dict(),
            "step": self.step,
            "history": asdict(self.history),
        }
        torch.save(state, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state: dict[str, Any] = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._muon.load_state_dict(state["muon"])
        self._adam.load_state_dict(state["adam"])
        self.step = state["step"]
        self.history = History(**state["history"])


def train(trainer: Trainer, checkpoint: Path, minutes: float, every: int = 100) -> bool:
    """Train until the recipe's steps or the minutes are spent; return whether all steps are done.

    Every `every` steps the held-out loss of a few windows is noted and a checkpoint written.
    """
    recipe, history = trainer.recipe, trainer.history
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    started, before = time.monotonic(), history.seconds
    recent: list[float] = []
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=recipe.steps, completed=trainer.step)
        while trainer.step < recipe.steps and time.monotonic() - started < 60 * minutes:
            recent.append(trainer.take_step())
            progress.update(task, advance=1)
            if trainer.step % every == 0 or trainer.step == recipe.steps:
                history.seconds = before + time.monotonic() - started
                history.train.append((trainer.step, sum(recent) / len(recent)))
                history.held_out.append((trainer.step, trainer.held_out_loss(limit=24)))
                recent.clear()
                trainer.save(checkpoint)
                progress.update(
                    task,
                    description=f"train {history.train[-1][1]:.3f} "
                    f"held-out {history.held_out[-1][1]:.3f}",
                )
                progress.console.print(
                    f"step {trainer.step} train {history.train[-1][1]:.4f} "
                    f"held-out {history.held_out[-1][1]:.4f} seconds {history.seconds:.0f}"
                )
    history.seconds = before + time.monotonic() - started
    trainer.save(checkpoint)
    return trainer.step >= recipe.steps
