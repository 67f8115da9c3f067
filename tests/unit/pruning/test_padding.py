"""Positions that are padding count nowhere: a batch with padding is worth what its sequences are without it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import shapprune
from shapprune import BranchGame, LayerGame, ShapPruneError, remove_units, score
from shapprune.criteria.elimination import Reading
from shapprune.criteria.inputs import fluctuations, wanda_norms
from shapprune.criteria.reconstruction import readings_of
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.named_inputs import NamedInputs, counted_positions
from shapprune.networks.transformers import CharGPT
from shapprune.pruning import batchnorm, sweep
from shapprune.pruning.distil import Distilling
from shapprune.pruning.repair import repair
from tests.toys import randomise

LAYER, LENGTH, PADDING = "network.up", 5, 3
# Sums in another order: values are of the order of one.
CLOSE = {"atol": 1e-5, "rtol": 1e-4}


class Words(nn.Module):
    """Tokens, to each the mean of its sequence, neurons in a residual branch, and what is to follow."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.up, self.down, self.output = (
            *(nn.Embedding(12, 4), nn.Linear(4, 8), nn.Linear(8, 4), nn.Linear(4, 12)),
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x, there = self.table(input_ids), attention_mask[..., None]
        x = x + (x * there).sum(1, keepdim=True) / there.sum(1, keepdim=True)
        x = x + self.added(torch.relu(self.up(x)))
        return self.output(x)

    def added(self, x: Tensor) -> Tensor:
        return self.down(x)


class NormalisedWords(Words):
    """The same with a BatchNorm behind the layer that reads the neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def added(self, x: Tensor) -> Tensor:
        return self.norm(self.down(x).mT).mT


def network(kind: type[Words] = Words) -> NamedInputs:
    return NamedInputs(randomise(kind()), "input_ids", "attention_mask").eval()


def sequences(count: int = 9) -> Tensor:
    return torch.randint(12, (count, LENGTH), generator=torch.Generator().manual_seed(3))


def packed(model: NamedInputs, tokens: Tensor, padding: int = 0) -> Tensor:
    ids = nn.functional.pad(tokens, (0, padding), value=7)
    there = (torch.arange(ids.shape[1]) < tokens.shape[1]).long().expand_as(ids)
    return model.pack({"input_ids": ids, "attention_mask": there})


@pytest.fixture
def both() -> tuple[NamedInputs, Tensor, Tensor]:
    """A network, and the same sequences without and with padding."""
    model = network()
    return model, packed(model, sequences()), packed(model, sequences(), PADDING)


@pytest.mark.parametrize(
    "criterion", ["reconstruction", "fluctuation", "wanda", "taylor", "apoz", "hrank", "gate-gradient"]
)
def test_scores_are_those_without_padding(criterion, both):
    model, *batches = both
    one, other = (score(LayerGame(model, LAYER, x, model.next_tokens(x)), criterion).values for x in batches)
    assert one.abs().sum() > 0
    torch.testing.assert_close(other, one, **CLOSE)


@pytest.mark.parametrize("criterion", ["block-influence", "leave-one-out"])
def test_branches_are_worth_the_same_without_labels(criterion, both):
    model, *batches = both
    one, other = (score(BranchGame(model, x, payoff="kl"), criterion).values for x in batches)
    assert one.abs().sum() > 0
    torch.testing.assert_close(other, one, **CLOSE)


@pytest.mark.parametrize("how", ["bias", "least-squares"])
def test_repairs_are_those_without_padding(how, both):
    model, *batches = both
    units = {LAYER: [1, 4, 6]}
    plain, one, other = (
        repair(remove_units(model, units, x), model, units, x, each)
        for x, each in ((batches[0], "none"), (batches[0], how), (batches[1], how))
    )
    changed = [name for name, value in one.state_dict().items() if not torch.equal(value, plain.state_dict()[name])]
    assert "network.down.bias" in changed
    for name, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, **CLOSE)


class Decoder(nn.Module):
    """A decoder, which sees no padding on the right of what it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.gpt = CharGPT((LENGTH,), 12, width=8, depth=1, heads=2, head_dim=4, hidden=8)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.gpt(input_ids)


def test_heads_have_the_rank_that_they_have_without_padding():
    model = NamedInputs(randomise(Decoder()), "input_ids", "attention_mask").eval()
    layer = "network.gpt.blocks.0.attn"
    one, other = (
        score(LayerGame(model, layer, x, model.next_tokens(x)), "hrank").values
        for x in (packed(model, sequences()[:, :2]), packed(model, sequences()[:, :2], PADDING))
    )
    assert one.max() == 2  # of two tokens
    assert torch.equal(one, other)


@pytest.mark.parametrize("at_once", [3, 100])
def test_statistics_of_batchnorms_are_those_without_padding(at_once, monkeypatch):
    model, units = network(NormalisedWords), {LAYER: [1, 4, 6]}
    found = []
    for padding in (0, PADDING):
        x = packed(model, sequences(), padding)
        numbers = max(shape[1:].numel() for shape in UnitGraph(model, x[:2]).shapes.values())
        monkeypatch.setattr(batchnorm, "PASS", at_once * numbers)
        small = repair(remove_units(model, units, x), model, units, x, "batchnorm")
        found.append(small.network.norm)
    before = model.network.norm.running_var
    assert not torch.allclose(found[0].running_var, before)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(found[1], name), getattr(found[0], name), **CLOSE)


def test_what_fits_a_budget_and_its_agreement_are_those_without_padding(both):
    model, *batches = both
    one, other = (shapprune.prune(model, x, ratio=0.5, steps=0) for x in batches)
    assert one.kept == other.kept
    assert 0 < one.agreement.estimate < 1
    for stage, found in one.stages.items():
        assert found == pytest.approx(other.stages[stage])
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(other.model.state_dict()[name], value, **CLOSE)


def test_distilling_learns_nothing_from_padding(both):
    model, *batches = both
    units = {LAYER: [1, 4, 6]}
    found = []
    for x in batches:
        small = remove_units(model, units, x)
        Distilling(small, UnitGraph(model, x[:2]), x, steps=3, rate=0.01).run()
        found.append(small.state_dict())
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, **CLOSE)


def test_sequences_of_several_lengths_are_worth_what_each_is_alone():
    model, tokens = network(), sequences(3)
    parts = [tokens[place : place + 1, :length] for place, length in enumerate((5, 2, 4))]
    together = torch.cat([packed(model, part, LENGTH - part.shape[1]) for part in parts])
    game = LayerGame(model, LAYER, together, payoff="kl")
    rows = []  # what goes into the reader, sequence by sequence
    hook = model.network.down.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0][0].detach().double()))
    for part in parts:
        model(packed(model, part))
    hook.remove()
    x = torch.cat(rows)
    assert x.shape == (11, 8)
    for centred, criterion, of in ((False, "wanda", wanda_norms), (True, "fluctuation", fluctuations)):
        (known,) = readings_of(game, centred)
        means = x.mean(0) * centred
        gram = (x - means).mT @ (x - means)
        reading = Reading(gram, means, known.weights, known.importance, known.places)
        torch.testing.assert_close(known.rows, gram, **CLOSE)
        torch.testing.assert_close(score(game, criterion).values[0], of([reading]), **CLOSE)


def test_positions_that_count_are_drawn_before_padding(monkeypatch):
    model = network()
    x, units = packed(model, sequences(), PADDING), {LAYER: [1, 4, 6]}
    seen, ridge = [], sweep.fit_ridge

    def note(rows, missing, intercept, copied, counted):
        seen.append(counted)
        return ridge(rows, missing, intercept, copied, counted)

    monkeypatch.setattr(sweep, "fit_ridge", note)
    monkeypatch.setattr(sweep, "POSITIONS", LENGTH)
    repair(remove_units(model, units, x), model, units, x, "least-squares")
    assert seen
    assert all(counted.all() for counted in seen)


def test_which_positions_count():
    model = network()
    inputs = packed(model, sequences(2), 1)
    assert counted_positions(model, inputs).tolist() == [[True] * 5 + [False]] * 2
    assert counted_positions(model, packed(model, sequences(2))) is None
    assert counted_positions(nn.Linear(2, 2), torch.rand(3, 2)) is None
    inputs[1, 1] = 0
    with pytest.raises(ShapPruneError, match="sequence 1 is all padding: its attention_mask is 0 everywhere"):
        LayerGame(model, LAYER, inputs)
