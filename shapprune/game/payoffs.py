"""Payoffs: what a coalition is worth to an example, from the network's outputs and the label; higher = better.

An example is an image with one label, or a sequence of tokens with a label at each position: what is to follow the
token there, or -100 where that does not count. The payoff of a sequence is the mean over its labels that count.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from shapprune.core.errors import ShapPruneError, first_line, unknown
from shapprune.data.prepared import NOT_COUNTED
from shapprune.game.whole import WITHOUT_LABELS, minus_divergence, uncounted
from shapprune.graph.outputs import map_tensors
from shapprune.networks.losses import cross_entropies, hits, logits_of, mean_of_positions, require_labels

# From the network's outputs, whatever they are, and labels, or outputs of the intact network (`Answers.of`).
Payoff = Callable[[Any, Tensor], Tensor]
_FEW_CLASSES = 32


def minus_loss(outputs: Any, labels: Tensor) -> Tensor:
    """Minus the cross-entropy of each example, float [N].

    Args:
        outputs: of the network before any softmax, float [N, classes], or of sequences [N, T, classes]; where there are
            more, `shapprune.networks.losses.logits_of` finds them.
        labels: classes, int64 [N], or of sequences [N, T].

    Examples:
        >>> import torch
        >>> from shapprune.game.payoffs import minus_loss
        >>> minus_loss(torch.zeros(2, 5, 4), torch.tensor([[0, 1, 2, 3, 0], [3, -100, -100, -100, -100]]))
        tensor([-1.3863, -1.3863])
    """
    outputs = logits_of(outputs)
    if labels.dim() > 1 or outputs.is_cuda or outputs.shape[1] > _FEW_CLASSES:
        return -cross_entropies(outputs, labels)
    # Examples as positions of one image: with ten classes this is four times as fast on a CPU.
    return -F.cross_entropy(outputs.t()[None], labels[None], reduction="none")[0]


def accuracy(outputs: Any, labels: Tensor) -> Tensor:
    """1 if the label has the largest output, else 0, float [N]; arguments as for `minus_loss`."""
    outputs = logits_of(outputs)
    return hits(outputs, labels).to(outputs.dtype)


def margin(outputs: Any, labels: Tensor) -> Tensor:
    """Output of the label minus the largest other output, float [N]; arguments as for `minus_loss`.

    Examples:
        >>> import torch
        >>> from shapprune.game.payoffs import margin
        >>> margin(torch.tensor([[1.0, 4.0, 2.0]]), torch.tensor([1])).tolist()
        [2.0]
    """
    outputs, places = logits_of(outputs), labels.clamp(min=0)[..., None]
    own = outputs.gather(-1, places)[..., 0]
    others = outputs.scatter(-1, places, -torch.inf)
    return mean_of_positions(own - others.amax(-1), labels)


PAYOFFS: dict[str, Payoff] = {"loss": minus_loss, "accuracy": accuracy, "margin": margin, **WITHOUT_LABELS}


class Answers:
    """What payoffs compare outputs with: labels, or what the intact network puts out.

    Args:
        labels: of the scoring images, [N] or [N, T]; None where there are none.
        run: returns the outputs of the intact network for all scoring images; called at most once.
        counted: which positions of sequences are no padding, bool [N, T]; None for all.
    """

    def __init__(self, labels: Tensor | None, run: Callable[[], Any], counted: Tensor | None = None):
        self._labels, self._run, self._counted = labels, run, counted

    @cached_property
    def _whole(self) -> Any:
        with torch.inference_mode(False), torch.no_grad():
            return uncounted(self._run(), self._labels, self._counted)

    def of(self, payoff: Payoff) -> Tensor:
        """The second argument of a payoff, for all scoring images.

        Raises:
            ShapPruneError: it needs labels, and there are none.
        """
        if payoff in WITHOUT_LABELS.values():
            return self._whole
        if self._labels is None:
            names = " or ".join(map(repr, WITHOUT_LABELS))
            raise ShapPruneError(
                f"payoff {_name(payoff)!r} needs labels; give them, or take payoff {names}, which compares with the"
                " intact network"
            )
        return self._labels


def read_labels(labels: Tensor | None, count: int, device: torch.device) -> Tensor | None:
    """Labels on a device, whole numbers of any type as int64, as losses and indices take them; None stays None.

    Raises:
        ShapPruneError: there is not one for each of ``count`` images.
    """
    if count == 0 or (labels is not None and len(labels) != count):
        given = "no" if labels is None else len(labels)
        raise ShapPruneError(f"{count} scoring images and {given} labels were given, not one for each")
    if labels is None:
        return None
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    return (labels.long() if whole else labels).to(device)


def find_payoff(payoff: str | Payoff) -> Payoff:
    """Look up a payoff.

    Args:
        payoff: a name of `PAYOFFS`, or a function of (outputs, labels), which is returned as it is.

    Raises:
        ShapPruneError: an unknown name.
    """
    if callable(payoff):
        return payoff
    if payoff not in PAYOFFS:
        raise unknown("payoff", payoff, PAYOFFS)
    return PAYOFFS[payoff]


def require_finite(values: Tensor, what: str) -> None:
    """Raise unless all values are finite.

    Args:
        values: [N, ...], a row an example.
        what: what the values are, for the message.

    Raises:
        ShapPruneError: a value is not finite; the message names the first and its example.
    """
    wrong = ~torch.isfinite(values)
    if wrong.any():
        place = wrong.nonzero()[0].tolist()
        raise ShapPruneError(
            f"{what}: {float(values[tuple(place)])} for example {place[0]}; the network's payoff is not finite there"
        )


def check_payoff(payoff: Payoff, outputs: object, answers: Answers, inputs: Tensor | None = None) -> None:
    """Raise unless a payoff can use the outputs and labels, and values each example by itself.

    Args:
        payoff: the function.
        outputs: of the network for the first images.
        answers: of all images.
        inputs: all images or tokens; None to look at labels alone.

    Raises:
        ShapPruneError: for a payoff of `PAYOFFS`, outputs and labels are neither [N, classes] and [N] nor, of
            sequences, [N, T, classes] and [N, T], a label is not the number of a class, no label of a sequence
            counts, or labels are the tokens themselves; for another one, it fails, does not return a floating-point
            number for each example, or what it returns for an example depends on others.
    """
    if payoff not in PAYOFFS.values():
        _check_own(payoff, outputs, answers.of(payoff))
        return
    logits = logits_of(outputs)
    if not isinstance(logits, Tensor):
        raise ShapPruneError(
            f"this payoff needs outputs [N, classes], but the network returns a {type(outputs).__name__}; give a payoff"
            " that says which it takes, e.g. lambda outputs, labels: minus_loss(outputs[0], labels)"
        )
    if payoff in WITHOUT_LABELS.values():
        if logits.dim() not in (2, 3):
            raise ShapPruneError(
                f"this payoff needs outputs [N, classes], or [N, T, classes] of sequences, not {tuple(logits.shape)}"
            )
        return
    labels = answers.of(payoff)
    if logits.dim() not in (2, 3) or labels.shape[1:] != logits.shape[1:-1] or labels.dtype != torch.int64:
        raise ShapPruneError(
            "this payoff needs outputs [N, T, classes] and labels [N, T] of sequences, or outputs [N, classes] and"
            f" whole-number labels [N], not {tuple(logits.shape)} and {tuple(labels.shape)} {labels.dtype}"
        )
    require_labels(inputs, labels)
    _check_range(labels, logits.shape[-1])


def _check_range(labels: Tensor, classes: int) -> None:
    counted = labels if labels.dim() == 1 else labels[labels != NOT_COUNTED]
    low, high = int(counted.min()), int(counted.max())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise ShapPruneError(f"label {wrong} is outside 0 ... {classes - 1}, the network has {classes} outputs")


def check_own(payoffs: Iterable[Payoff], outputs: object, answers: Answers) -> None:
    """Do what `check_payoff` does for those payoffs that are not of `PAYOFFS`."""
    for payoff in payoffs:
        if payoff not in PAYOFFS.values():
            _check_own(payoff, outputs, answers.of(payoff))


def _check_own(payoff: Payoff, outputs: object, labels: Tensor) -> None:
    name = _name(payoff)
    # Three rows of two images: a size of the network that happens to be the number of rows does not look like [N].
    rows = torch.tensor([0, min(2, len(labels)) - 1, 0], device=labels.device)
    found = []
    for some in (rows, rows[:1], rows[1:2]):
        try:
            with torch.no_grad():
                values = payoff(map_tensors(operator.itemgetter(some), outputs), labels[some])
        except Exception as error:
            raise ShapPruneError(
                f"payoff {name} fails on the outputs of {len(some)} images and labels {list(labels[some].shape)}"
                f" {labels.dtype}: {first_line(error)}"
            ) from error
        if not isinstance(values, Tensor) or values.shape != some.shape or not values.is_floating_point():
            what = f"{values.dtype} {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
            raise ShapPruneError(
                f"payoff {name} must return a floating-point number for each example, [N], but for {len(some)} it"
                f" returns {what}"
            )
        found.append(values)
    together, first, last = found
    if not torch.allclose(together, torch.cat([first, last, first]), rtol=1e-3, atol=1e-5, equal_nan=True):
        raise ShapPruneError(f"payoff {name} must value each example by itself, but others change what it returns")


def require_gradient(payoff: Payoff, outputs: object, answers: Answers) -> None:
    """Refuse a payoff whose values have no gradient in the outputs.

    Raises:
        ShapPruneError: it is the accuracy, or another function that counts.
    """
    if payoff in (minus_loss, margin, minus_divergence):
        return
    labels = answers.of(payoff)
    with torch.enable_grad():
        values = payoff(map_tensors(lambda each: each.detach().clone().requires_grad_(), outputs), labels[:2])
    if not values.requires_grad:
        raise ShapPruneError(
            f"payoff {_name(payoff)!r} has no gradient, criteria that need one take 'loss', 'margin' or 'kl', or a"
            " function that has"
        )


def _name(payoff: Payoff) -> str:
    own = getattr(payoff, "__name__", repr(payoff))
    return next((name for name, each in PAYOFFS.items() if each is payoff), own)
