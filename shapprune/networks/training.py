"""Training by a recipe, with the best epoch chosen on validation images; and evaluation."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from shapprune.core.checkpoint import load_checkpoint, save_checkpoint
from shapprune.core.errors import ShapPruneError
from shapprune.networks.augment import augment
from shapprune.networks.modes import mode
from shapprune.networks.recipe import Recipe


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    validation_images: Tensor,
    validation_labels: Tensor,
    recipe: Recipe,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: bool = True,
    checkpoint: Path | None = None,
    keep_start: bool = False,
) -> list[dict[str, float]]:
    """Train a network in place and leave it in the state after its best epoch.

    The best epoch has the highest validation accuracy and, of those, the lowest validation loss; training ends when
    as many epochs as ``recipe.patience`` says have brought none that is better. Weights, seed, data
    and device decide the outcome; the global random state and the mode of every module are handed back as they were.
    The network stays on the device.

    Args:
        model: from images [N, C, H, W] to outputs [N, classes] before the softmax.
        images: float [N, C, H, W], normalised.
        labels: int64 [N].
        validation_images: float [M, C, H, W].
        validation_labels: int64 [M].
        recipe: how to train.
        seed: of the order of images, their augmentation, and dropout.
        device: where to train.
        progress: a bar with the time left where a person watches (standard error is a terminal), else a line an epoch.
        checkpoint: a file that is written after each epoch; a training that was cut off goes on from it and comes out
            the same. It is left there for the caller to delete.
        keep_start: leave the network as it was if no epoch is better than that.

    Returns:
        A row an epoch: epoch (from 1), lr (of its first step), train_loss, train_accuracy (both over the epoch, as the
        weights changed), validation_loss, validation_accuracy, seconds.

    Raises:
        ShapPruneError: the loss is no longer finite.
    """
    device = torch.device(device)
    model.to(device)
    images, labels = images.to(device), labels.to(device)
    validation = validation_images.to(device), validation_labels.to(device)
    black = images.amin((0, 2, 3)).view(1, -1, 1, 1)  # the darkest value: a zero pixel after normalisation
    optimizer = _optimizer(model, recipe)
    generator = torch.Generator(device).manual_seed(seed)
    steps = math.ceil(len(images) / recipe.batch)
    rows: list[dict[str, float]] = []
    start, best_state = None, None
    weights = [float(each.double().sum()) for each in model.state_dict().values()]
    data = f"{len(images)} {float(images.double().sum())} {len(validation_images)}"
    of = f"{recipe} {seed} {device.type} {keep_start} {data} {weights}"
    watched = progress and sys.stderr.isatty()

    with (
        seeded(seed, device),  # dropout draws from the global generator
        _reproducible_convolutions(),
        mode(model, training=True),
        tqdm(total=recipe.epochs * steps, unit="step", disable=not watched) as bar,
    ):
        if (saved := load_checkpoint(checkpoint, of)) is not None:
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            generator.set_state(saved["generator"])
            _set_global_state(saved["global"], device)
            rows, start, best_state = saved["rows"], saved["start"], saved["best_state"]
            bar.update(len(rows) * steps)
        elif keep_start:
            start, best_state = list(evaluate(model, *validation)), _copy_of_state(model)
        for epoch in range(len(rows), recipe.epochs):
            if 0 < recipe.patience <= epoch - best_epoch(rows, start):
                break
            began = time.perf_counter()
            order = torch.randperm(len(images), generator=generator, device=device).split(recipe.batch)
            losses, right = [], []
            for step, chosen in enumerate(order, start=epoch * steps):
                for group in optimizer.param_groups:
                    group["lr"] = recipe.learning_rate(step, steps)
                batch = augment(images[chosen], recipe.augment, black, generator)
                loss, hits = _step(model, optimizer, batch, labels[chosen], recipe.label_smoothing)
                losses.append(loss)
                right.append(hits)
                bar.update()
            train_loss, train_accuracy = _summary(losses, right, order, epoch)
            validation_loss, validation_accuracy = evaluate(model, *validation)
            if not math.isfinite(validation_loss):
                raise _diverged(epoch, "the validation loss", validation_loss)
            rows.append(
                {
                    "epoch": epoch + 1,
                    "lr": recipe.learning_rate(epoch * steps, steps),
                    "train_loss": train_loss,
                    "train_accuracy": train_accuracy,
                    "validation_loss": validation_loss,
                    "validation_accuracy": validation_accuracy,
                    "seconds": time.perf_counter() - began,
                }
            )
            _report(rows[-1], recipe.epochs, bar, progress, watched)
            if best_epoch(rows, start) == epoch + 1:
                best_state = _copy_of_state(model)
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rows": rows}
            state |= {"generator": generator.get_state(), "global": _global_state(device)}
            save_checkpoint(checkpoint, of, state | {"start": start, "best_state": best_state})
    model.zero_grad()
    if best_state is not None:
        model.load_state_dict(best_state)
    return rows


def evaluate(model: nn.Module, images: Tensor, labels: Tensor, batch: int = 500) -> tuple[float, float]:
    """Mean cross-entropy and accuracy of a network in eval mode; its mode is handed back as it was.

    Args:
        model: from images [N, C, H, W] to outputs [N, classes] before the softmax.
        images: float [N, C, H, W], on any device.
        labels: int64 [N].
        batch: images at a time.
    """
    device = next((each.device for each in model.parameters()), images.device)
    loss = torch.zeros((), dtype=torch.float64)
    correct = 0
    with mode(model, training=False), torch.inference_mode():
        for some, truth in zip(images.split(batch), labels.split(batch), strict=True):
            outputs, truth = model(some.to(device)), truth.to(device)
            loss += F.cross_entropy(outputs, truth, reduction="none").double().sum().cpu()
            correct += int((outputs.argmax(1) == truth).sum())
    return float(loss) / len(images), correct / len(images)


@contextmanager
def seeded(seed: int, device: str | torch.device = "cpu") -> Iterator[None]:
    """Within the block torch's global generators start from a seed; afterwards they are as they were.

    Used around `shapprune.networks.builders.build`, it makes the initial weights a function of the seed.

    Args:
        seed: the seed.
        device: a CUDA device whose generator is meant too.
    """
    device = torch.device(device)
    devices = []
    if device.type == "cuda":
        devices = [torch.cuda.current_device() if device.index is None else device.index]
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for index in devices:
            with torch.cuda.device(index):
                torch.cuda.manual_seed(seed)
        yield


def best_epoch(rows: Sequence[Mapping[str, float]], start: Sequence[float] | None = None) -> int:
    """The number of the epoch whose weights `fit` leaves; 0 where none is better than the start.

    Args:
        rows: what `fit` returned.
        start: validation loss and accuracy of the network as it was, where that counts (``keep_start``).
    """
    best, number = (-1.0, 0.0) if start is None else (start[1], -start[0]), 0
    for row in rows:
        if (found := (row["validation_accuracy"], -row["validation_loss"])) > best:
            best, number = found, int(row["epoch"])
    return number


def _copy_of_state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _global_state(device: torch.device) -> list[Tensor]:
    """The state of torch's global generators."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _set_global_state(state: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)


@contextmanager
def _reproducible_convolutions() -> Iterator[None]:
    """Keep cuDNN to algorithms that give the same sums each time; without CUDA nothing depends on it."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = [each for each in model.parameters() if each.requires_grad]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    return kind(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """One step on a batch; its mean loss and how many of it were right, both still on the device."""
    outputs = model(images)
    loss = F.cross_entropy(outputs, labels, label_smoothing=label_smoothing)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach(), (outputs.argmax(1) == labels).sum()


def _summary(losses: list[Tensor], right: list[Tensor], order: Sequence[Tensor], epoch: int) -> tuple[float, float]:
    """Mean loss and accuracy of an epoch's images.

    Losses are looked at only here, once an epoch: to look at each step would make the processor wait for the device.
    """
    values = torch.stack(losses).tolist()
    for step, value in enumerate(values, start=1):
        if not math.isfinite(value):
            raise _diverged(epoch, f"the loss of step {step}", value)
    sizes = [len(chosen) for chosen in order]
    total = sum(value * size for value, size in zip(values, sizes, strict=True))
    return total / sum(sizes), int(torch.stack(right).sum()) / sum(sizes)


def _diverged(epoch: int, what: str, value: float) -> ShapPruneError:
    return ShapPruneError(f"training diverged: {what} in epoch {epoch + 1} is {value}; lower the learning rate")


def _report(row: dict[str, float], epochs: int, bar: tqdm, progress: bool, watched: bool) -> None:
    text = f"loss {row['validation_loss']:.4f}, accuracy {row['validation_accuracy']:.4f} in validation"
    if watched:
        bar.set_postfix_str(text)
    elif progress:
        print(f"epoch {row['epoch']}/{epochs}: {text}, {row['seconds']:.1f} s", file=sys.stderr, flush=True)
