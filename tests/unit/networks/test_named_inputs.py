"""Token ids with an attention mask: games, removal and prune on small networks, and inputs that do not fit."""

from __future__ import annotations

import pytest
import torch

from shapprune import LayerGame, ShapPruneError, load, remove_units, save, score
from shapprune.networks.losses import logits_of
from shapprune.networks.named_inputs import NamedInputs
from shapprune.pruning.removal import mask_units
from tests.unit.transformers import CASES, build

NAMES = "input_ids", "attention_mask"
MASK = torch.tensor([[1] * 8, [1] * 5 + [0] * 3, [1] * 3 + [0] * 5])


def case_of(name):
    case = CASES[name]
    network = NamedInputs(build(case), *NAMES).eval()
    inputs = network.pack({"input_ids": case.inputs, "attention_mask": MASK})
    labels = torch.tensor([0, 1, 1]) if name == "bert" else network.next_tokens(inputs)
    return network, inputs, labels, case


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert"])
def test_values_are_those_of_masked_units_and_removal_equals_them(name, tmp_path):
    network, inputs, labels, case = case_of(name)
    heads, neurons = (f"network.{each[0]}" for each in (case.heads, case.neurons))
    for layer, gone in ((heads, [1]), (neurons, [0, 7])):
        game = LayerGame(network, layer, inputs, labels)
        kept = torch.ones(1, game.units, dtype=torch.bool)
        kept[0, gone] = False
        masked = logits_of(mask_units(network, {layer: gone}, inputs))
        expected = [
            -torch.nn.functional.cross_entropy(row if row.dim() > 1 else row[None], label.reshape(-1))
            for row, label in zip(masked, labels, strict=True)
        ]
        torch.testing.assert_close(game.value(kept)[0].float(), torch.stack(expected), atol=1e-4, rtol=1e-4)
    small = remove_units(network, {heads: [1], neurons: [0, 7]}, inputs)
    with torch.no_grad():
        found = logits_of(small(inputs))
        own = logits_of(small.network(input_ids=inputs[:, 0], attention_mask=inputs[:, 1]))
    masked = logits_of(mask_units(network, {heads: [1], neurons: [0, 7]}, inputs))
    torch.testing.assert_close(found, masked, atol=1e-4, rtol=1e-4)
    assert torch.equal(own, found)
    save(small, tmp_path / "small")
    with torch.no_grad():
        again = load(tmp_path / "small", lambda: NamedInputs(build(case), *NAMES))(inputs)
    assert torch.equal(logits_of(again), found)


@pytest.mark.parametrize(("name", "payoff"), [("gpt2", "loss"), ("llama", "kl"), ("gpt2", "agreement")])
def test_what_is_padding_does_not_count(name, payoff):
    network, inputs, labels, case = case_of(name)
    other = inputs.clone()
    other[:, 0] = torch.where(MASK == 0, (inputs[:, 0] + 1) % 50, inputs[:, 0])
    values = []
    for some in (inputs, other):
        game = LayerGame(network, f"network.{case.heads[0]}", some, labels, payoff=payoff)
        values.append(game.value(torch.eye(game.units, dtype=torch.bool)))
    assert torch.allclose(*values, atol=1e-5)
    if payoff == "kl":
        whole = LayerGame(network, f"network.{case.heads[0]}", inputs, labels, payoff=payoff)
        first = inputs[2:, :, :3]  # the third sequence, without its padding
        alone = LayerGame(network, f"network.{case.heads[0]}", first, labels[2:, :3], payoff=payoff)
        kept = torch.eye(whole.units, dtype=torch.bool)
        assert torch.allclose(whole.value(kept)[:, 2], alone.value(kept)[:, 0], atol=1e-4)
        assert score(whole, "coalition-gradient", points=2).values.isfinite().all()


def test_labels_are_the_next_tokens():
    network = NamedInputs(torch.nn.Identity(), *NAMES)
    ids = torch.tensor([[5, 6, 7], [8, 9, 1], [1, 2, 3]])
    inputs = network.pack({"attention_mask": [[1, 1, 1], [1, 1, 0], [0, 1, 1]], "input_ids": ids})
    assert network.next_tokens(inputs).tolist() == [[6, 7, -100], [9, -100, -100], [-100, 3, -100]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"attention_mask": torch.ones(3, 7, dtype=torch.long)},
            r"attention_mask has the size \[3, 7\], but input_ids",
        ),
        ({"attention_mask": torch.ones(3, 8)}, "input 'attention_mask' is torch.float32"),
        ({"attention_mask": [[1, 1], [1]]}, "input 'attention_mask' is no table of numbers"),
        ({"input_id": MASK}, "unknown input 'input_id'"),
    ],
)
def test_bad_inputs(changed, message):
    network = NamedInputs(torch.nn.Identity(), *NAMES)
    with pytest.raises(ShapPruneError, match=message):
        network.pack({"input_ids": MASK, "attention_mask": MASK} | changed)
    with pytest.raises(ShapPruneError, match="input 'attention_mask' is missing"):
        network.pack({"input_ids": MASK})
    with pytest.raises(ShapPruneError, match="are not one or more different names"):
        NamedInputs(torch.nn.Identity(), "a", "a")
