"""Losses and hits of images and of sequences, some of whose labels do not count."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F

from shapprune.core.errors import ShapPruneError
from shapprune.data.prepared import NOT_COUNTED
from shapprune.networks.losses import (
    cross_entropies,
    hits,
    logits_of,
    mean_loss,
    require_labels,
)

GENERATOR = torch.Generator().manual_seed(0)
OUTPUTS = torch.randn(3, 4, 5, generator=GENERATOR)
LABELS = torch.tensor([[0, 1, 2, 3], [4, NOT_COUNTED, 0, NOT_COUNTED], [NOT_COUNTED, NOT_COUNTED, NOT_COUNTED, 1]])


def by_hand(value):
    """The mean over the positions that count, of each sequence."""
    rows = zip(OUTPUTS, LABELS, strict=True)
    return torch.stack([value(row[truth >= 0], truth[truth >= 0]).mean() for row, truth in rows])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_a_sequence_is_the_mean_over_what_counts(smoothing):
    def loss(row, truth):
        return F.cross_entropy(row, truth, reduction="none", label_smoothing=smoothing)

    torch.testing.assert_close(cross_entropies(OUTPUTS, LABELS, smoothing), by_hand(loss))
    torch.testing.assert_close(mean_loss(OUTPUTS, LABELS, smoothing), by_hand(loss).mean())


def test_the_hits_of_a_sequence_are_the_share_of_what_counts():
    torch.testing.assert_close(hits(OUTPUTS, LABELS), by_hand(lambda row, truth: (row.argmax(1) == truth).float()))
    assert hits(OUTPUTS[:, 0], torch.tensor([0, 1, 2])).dtype == torch.float32


def test_those_of_an_image_are_what_they_are():
    outputs, labels = OUTPUTS[:, 0], torch.tensor([0, 1, 2])
    assert torch.equal(cross_entropies(outputs, labels), F.cross_entropy(outputs, labels, reduction="none"))
    assert torch.equal(mean_loss(outputs, labels, 0.1), F.cross_entropy(outputs, labels, label_smoothing=0.1))


def test_what_does_not_count_has_no_say():
    outputs = OUTPUTS.clone()
    outputs[LABELS == NOT_COUNTED] = torch.inf
    assert torch.equal(cross_entropies(outputs, LABELS), cross_entropies(OUTPUTS, LABELS))
    assert torch.equal(hits(outputs, LABELS), hits(OUTPUTS, LABELS))


class Named(NamedTuple):
    logits: torch.Tensor
    hidden: int


@dataclass
class Data:
    hidden: int
    logits: torch.Tensor


def test_logits_are_found_among_other_outputs():
    x = torch.ones(2)
    found = [x, {"hidden": 0, "logits": x}, Named(x, 0), Data(0, x), SimpleNamespace(logits=x), (x,), [x]]
    assert all(logits_of(each) is x for each in found)
    for other in ((x, x), {"scores": x}, None):  # nothing says which
        assert logits_of(other) is other


def test_sequences_without_a_label_are_refused():
    labels = torch.tensor([[1, NOT_COUNTED], [NOT_COUNTED, NOT_COUNTED]])
    with pytest.raises(ShapPruneError, match="sequence 1 has no label that counts: all are -100"):
        require_labels(None, labels)
    require_labels(None, labels[:1])
    require_labels(None, torch.tensor([0, 1]))


def test_tokens_that_are_their_own_labels_are_refused():
    tokens = torch.tensor([[1, 2, 3, 1], [2, 2, 2, 2]])
    for labels in (tokens, tokens.where(tokens < 3, NOT_COUNTED)):
        with pytest.raises(ShapPruneError, match="the labels are the tokens themselves"):
            require_labels(tokens, labels)
    require_labels(tokens[:, :-1], tokens[:, 1:])
    require_labels(torch.rand(2, 4), torch.tensor([0, 1]))
