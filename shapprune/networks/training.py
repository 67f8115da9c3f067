"""Training by a recipe, with the best epoch chosen on validation images."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from shapprune.core.checkpoint import load_checkpoint, save_checkpoint
from shapprune.core.errors import ShapPruneError
from shapprune.networks.augment import augment, darkest
from shapprune.networks.batches import in_batches
from shapprune.networks.evaluation import evaluate
from shapprune.networks.losses import hits, logits_of, mean_loss, require_labels
from shapprune.networks.modes import mode
from shapprune.networks.randomness import global_state, reproducible_sums, seeded, set_global_state
from shapprune.networks.recipe import Recipe

if TYPE_CHECKING:
    from shapprune.networks.teacher import Teacher

Best = Literal["accuracy", "loss"]


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
    start: tuple[float, float] | None = None,
    teacher: Teacher | None = None,
    best: Best = "accuracy",
) -> list[dict[str, float]]:
    """Train a network in place and leave it in the state after its best epoch.

    The best epoch has the highest validation accuracy and, among equals, the lowest validation loss. Training ends
    early when ``recipe.patience`` epochs in a row were not better. The outcome depends on weights, seed, data and
    device only; the global random state and the mode of every module are restored. The network stays on the device.

    Args:
        model: from images [N, C, H, W] to outputs [N, classes] before the softmax, or from sequences of tokens [N, T]
            to [N, T, classes]; `logits_of` finds them among others.
        images: float [N, C, H, W], normalised, or int64 [N, T].
        labels: int64 [N]; of sequences [N, T], what is to follow each token, -100 where that does not count.
        validation_images: float [M, C, H, W] or int64 [M, T].
        validation_labels: int64 [M] or [M, T].
        recipe: how to train.
        seed: of the order of images, their augmentation, and dropout.
        device: where to train.
        progress: report progress: a bar if standard error is a terminal, else a line an epoch.
        checkpoint: a file that is written after each epoch, from which the same training continues after an
            interruption, with the same result. The caller deletes it.
        start: validation loss and accuracy of the network as it is; if given, it stays so where no epoch is better.
        teacher: what the network learns from beside the labels, or instead of them; its network goes to the device.
        best: ``loss`` for the lowest validation loss and, among equals, the highest accuracy.

    Returns:
        A row an epoch: epoch (from 1), lr (of its first step), train_loss, train_accuracy (both over the epoch, as the
        weights changed), validation_loss, validation_accuracy, seconds.

    Raises:
        ShapPruneError: the loss is no longer finite, the recipe changes images but sequences are given, or labels of
            sequences do not fit (`require_labels`).

    Examples:
        >>> import torch
        >>> from shapprune.networks.evaluation import evaluate
        >>> from shapprune.networks.recipe import Recipe
        >>> from shapprune.networks.training import fit
        >>> images = torch.rand(40, 1, 2, 2)
        >>> labels = (images.mean((1, 2, 3)) > 0.5).long()
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> rows = fit(network, images, labels, images, labels, Recipe(epochs=3, batch=10), progress=False)
        >>> [row["epoch"] for row in rows]
        [1, 2, 3]
        >>> loss, accuracy = evaluate(network, images, labels)
        >>> accuracy == max(row["validation_accuracy"] for row in rows)
        True
    """
    device = torch.device(device)
    if recipe.augment and not images.is_floating_point():
        raise ShapPruneError(f"{' and '.join(recipe.augment)} change images, but these are sequences of tokens")
    model.to(device)
    train = images.to(device), labels.to(device)
    validation = validation_images.to(device), validation_labels.to(device)
    for pair in (train, validation):
        require_labels(*pair)
    if teacher is not None:
        teacher.network.to(device)
    data = f"{len(images)} {float(train[0].double().sum())} {len(validation_images)}"
    identity = f"{recipe} {seed} {device.type} {start is not None} {data} {_sums(model)} {_identity(teacher)} {best}"
    training = _Training(model, train, validation, recipe, seed, start, teacher, best)
    watched = progress and sys.stderr.isatty()
    with (
        seeded(seed, device),  # dropout draws from the global generator
        reproducible_sums(),
        mode(model, training=True),
        tqdm(total=recipe.epochs * training.steps, unit="step", disable=not watched) as bar,
    ):
        if (saved := load_checkpoint(checkpoint, identity)) is not None:
            training.load_state(saved)
            bar.update(len(training.rows) * training.steps)
        while not training.finished():
            row = training.train_epoch(bar)
            _report(row, recipe.epochs, bar, progress, watched)
            save_checkpoint(checkpoint, identity, training.state())
    model.zero_grad()
    if training.best_state is not None:
        model.load_state_dict(training.best_state)
    return training.rows


class _Training:
    """A training under way.

    Attributes:
        steps: steps in an epoch.
        rows: the rows of `fit` so far.
        best_state: the network's state after the best epoch so far; None if there is none.
    """

    def __init__(
        self,
        model: nn.Module,
        train: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor],
        recipe: Recipe,
        seed: int,
        start: tuple[float, float] | None,
        teacher: Teacher | None,
        best: Best,
    ):
        self._model, self._recipe, self._teacher, self._best = model, recipe, teacher, best
        (self._images, self._labels), self._validation = train, validation
        self._device = self._images.device
        # A zero pixel after normalisation, the darkest value.
        self._black = darkest(self._images)
        self._optimizer = _optimizer(model, recipe)
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self.steps = len(in_batches(self._images, recipe.batch))
        self.rows: list[dict[str, float]] = []
        self._start = start  # epoch 0, which others must exceed
        self.best_state = None if start is None else _copy_of_state(model)

    def finished(self) -> bool:
        """Whether all epochs were trained, or as many as the patience allows without a better one."""
        epoch = len(self.rows)
        return epoch >= self._recipe.epochs or 0 < self._recipe.patience <= epoch - self._best_epoch()

    def train_epoch(self, bar: tqdm) -> dict[str, float]:
        """Train one epoch, and return its row."""
        epoch, began = len(self.rows), time.perf_counter()
        order = torch.randperm(len(self._images), generator=self._generator, device=self._device)
        batches = in_batches(order, self._recipe.batch)
        losses, right = [], []
        for step, chosen in enumerate(batches, start=epoch * self.steps):
            for group in self._optimizer.param_groups:
                group["lr"] = self._recipe.learning_rate(step, self.steps)
            images = augment(self._images[chosen], self._recipe.augment, self._black, self._generator)
            loss, correct = self._step(images, self._labels[chosen])
            losses.append(loss)
            right.append(correct)
            bar.update()
        train_loss, train_accuracy = _summary(losses, right, batches, epoch)
        validation_loss, validation_accuracy = evaluate(self._model, *self._validation)
        if not math.isfinite(validation_loss):
            raise _diverged(epoch, "the validation loss", validation_loss)
        row = {
            "epoch": epoch + 1,
            "lr": self._recipe.learning_rate(epoch * self.steps, self.steps),
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "validation_loss": validation_loss,
            "validation_accuracy": validation_accuracy,
            "seconds": time.perf_counter() - began,
        }
        self.rows.append(row)
        if self._best_epoch() == epoch + 1:
            self.best_state = _copy_of_state(self._model)
        return row

    def _best_epoch(self) -> int:
        return best_epoch(self.rows, self._start, self._best)

    def _step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step on a batch; return its mean loss and how many were right, both still on the device."""
        outputs = logits_of(self._model(images))
        given = outputs, labels, self._recipe.label_smoothing
        loss = mean_loss(*given) if self._teacher is None else self._teacher.loss(images, *given)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.detach(), hits(outputs, labels).sum()

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on, for a checkpoint."""
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "rows": self.rows,
            "generator": self._generator.get_state(),
            "global": global_state(self._device),
            "start": self._start,
            "best_state": self.best_state,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that `state` returned."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"])
        set_global_state(state["global"], self._device)
        self.rows, self._start, self.best_state = state["rows"], state["start"], state["best_state"]


def best_epoch(
    rows: Sequence[Mapping[str, float]], start: tuple[float, float] | None = None, best: Best = "accuracy"
) -> int:
    """The number of the epoch whose weights `fit` leaves; 0 if none is better than the start.

    Args:
        rows: what `fit` returned.
        start: validation loss and accuracy of the untrained network, if that counts (``start`` of `fit`).
        best: as for `fit`.
    """

    def worth(loss: float, accuracy: float) -> tuple[float, float]:
        return (accuracy, -loss) if best == "accuracy" else (-loss, accuracy)

    highest, number = (-math.inf, -math.inf) if start is None else worth(*start), 0
    for row in rows:
        if (found := worth(row["validation_loss"], row["validation_accuracy"])) > highest:
            highest, number = found, int(row["epoch"])
    return number


def _sums(model: nn.Module) -> list[float]:
    """The sum of each tensor of a network, by which its weights are told from others."""
    return [float(each.double().sum()) for each in model.state_dict().values()]


def _identity(teacher: Teacher | None) -> str:
    return "" if teacher is None else f"{teacher.share} {teacher.temperature} {_sums(teacher.network)}"


def _copy_of_state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


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


def _summary(losses: list[Tensor], right: list[Tensor], order: Sequence[Tensor], epoch: int) -> tuple[float, float]:
    """Mean loss and accuracy of an epoch's images.

    Losses are read only here, once an epoch: reading each step would make the processor wait for the device.
    """
    values = torch.stack(losses).tolist()
    for step, value in enumerate(values, start=1):
        if not math.isfinite(value):
            raise _diverged(epoch, f"the loss of step {step}", value)
    sizes = [len(chosen) for chosen in order]
    total = sum(value * size for value, size in zip(values, sizes, strict=True))
    return total / sum(sizes), float(torch.stack(right).double().sum()) / sum(sizes)


def _diverged(epoch: int, what: str, value: float) -> ShapPruneError:
    return ShapPruneError(f"training diverged: {what} in epoch {epoch + 1} is {value}; lower the learning rate")


def _report(row: dict[str, float], epochs: int, bar: tqdm, progress: bool, watched: bool) -> None:
    text = f"loss {row['validation_loss']:.4f}, accuracy {row['validation_accuracy']:.4f} in validation"
    if watched:
        bar.set_postfix_str(text)
    elif progress:
        print(f"epoch {row['epoch']}/{epochs}: {text}, {row['seconds']:.1f} s", file=sys.stderr, flush=True)
