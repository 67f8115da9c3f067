"""Training and evaluation: what comes out, that it comes out again, and what is left untouched."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.networks.builders import build
from shapprune.networks.evaluation import evaluate
from shapprune.networks.modes import mode
from shapprune.networks.randomness import seeded
from shapprune.networks.recipe import Recipe
from shapprune.networks.training import best_epoch, fit
from tests.toys import Follows, sequences


def make_images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images 1x6x6 whose class is the quarter that is bright, with noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    images = 0.5 * torch.randn(count, 1, 6, 6, generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, 3 * (label // 2) :, 3 * (label % 2) :][:3, :3] += 1
    return images, labels


TRAIN, VALIDATION = make_images(300, 0), make_images(100, 1)


def make_model(seed: int = 0) -> nn.Module:
    with seeded(seed):
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 4)
        )


def train(model: nn.Module, seed: int = 0, **options) -> list[dict[str, float]]:
    recipe = Recipe(**{"epochs": 3, "batch": 32, "lr": 0.05, "augment": ("crop",)} | options)
    return fit(model, *TRAIN, *VALIDATION, recipe, seed=seed, progress=False)


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


class CutOffError(Exception):
    """The training is cut off."""


def test_a_training_that_was_cut_off_goes_on_and_comes_out_the_same(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint"
    recipe = Recipe(epochs=4, batch=32, augment=("crop",), optimizer="adam", lr=0.01, schedule="cosine")
    whole = make_model()
    rows = fit(whole, *TRAIN, *VALIDATION, recipe, progress=False)

    evaluations = []

    def cut(*given):
        evaluations.append(given)
        if len(evaluations) == 3:  # of the third epoch
            raise CutOffError
        return evaluate(*given)

    monkeypatch.setattr("shapprune.networks.training.evaluate", cut)
    with pytest.raises(CutOffError):
        fit(make_model(), *TRAIN, *VALIDATION, recipe, progress=False, checkpoint=path)
    monkeypatch.undo()
    resumed = make_model()
    again = fit(resumed, *TRAIN, *VALIDATION, recipe, progress=False, checkpoint=path)
    assert same(resumed, whole)
    assert [row["validation_loss"] for row in again] == [row["validation_loss"] for row in rows]

    other = make_model()
    fit(
        other, *TRAIN, *VALIDATION, recipe, seed=1, progress=False, checkpoint=path
    )  # not that training: from the start
    fresh = make_model()
    fit(fresh, *TRAIN, *VALIDATION, recipe, seed=1, progress=False)
    assert same(other, fresh)
    path.write_bytes(path.read_bytes()[:100])  # a damaged checkpoint is none
    once_more = make_model()
    fit(once_more, *TRAIN, *VALIDATION, recipe, seed=1, progress=False, checkpoint=path)
    assert same(once_more, fresh)


def test_rows_say_what_happened():
    model = make_model()
    before = evaluate(model, *VALIDATION)[0]
    rows = train(model, augment=(), epochs=5, schedule="cosine")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert list(rows[0]) == [
        "epoch",
        "lr",
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
        "seconds",
    ]
    assert rows[0]["lr"] == 0.05 > rows[-1]["lr"]
    assert rows[-1]["validation_loss"] < 0.5 * before
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert rows[-1]["validation_accuracy"] > 0.9


def test_the_model_ends_in_its_best_epoch():
    for seed in range(3):
        model = make_model(seed)
        rows = train(model, seed, epochs=6, lr=0.3)
        best = max(rows, key=lambda row: (row["validation_accuracy"], -row["validation_loss"]))
        loss, accuracy = evaluate(model, *VALIDATION)
        assert accuracy == best["validation_accuracy"]
        assert loss == pytest.approx(best["validation_loss"], rel=1e-12)


def test_the_best_epoch_is_that_of_the_measure_asked_for():
    rows = [
        {"epoch": number, "validation_loss": loss, "validation_accuracy": accuracy}
        for number, (loss, accuracy) in enumerate([(0.5, 0.8), (0.4, 0.7), (0.6, 0.9)], start=1)
    ]
    assert (best_epoch(rows), best_epoch(rows, best="loss"), best_epoch(rows, (0.4, 0.7), "loss")) == (3, 2, 0)
    model = make_model()
    rows = fit(model, *TRAIN, *VALIDATION, Recipe(epochs=6, lr=0.3), progress=False, best="loss")
    assert evaluate(model, *VALIDATION)[0] == pytest.approx(min(row["validation_loss"] for row in rows), rel=1e-12)


def test_a_seed_gives_the_same_network_again():
    models = [make_model() for _ in range(3)]
    rows = [train(model, seed) for model, seed in zip(models, (0, 0, 1), strict=True)]
    assert same(models[0], models[1])
    assert [row["train_loss"] for row in rows[0]] == [row["train_loss"] for row in rows[1]]
    assert not same(models[0], models[2])
    assert same(make_model(5), make_model(5))
    assert not same(make_model(5), make_model(6))


def test_random_state_and_modes_are_handed_back():
    model = make_model()
    model.eval()
    model[4].train()
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    train(model)
    assert torch.equal(state, torch.get_rng_state())
    assert modes == [module.training for module in model.modules()]
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    make_model()
    assert torch.equal(torch.rand(1), expected)


def test_modes_are_handed_back_also_after_an_error():
    model = make_model()
    with mode(model, training=False):
        assert not model[0].training
    assert model[0].training
    with pytest.raises(RuntimeError):
        evaluate(model, VALIDATION[0][:, :, :5], VALIDATION[1])
    assert model[0].training


def test_no_epochs_leave_the_network_as_it_is():
    model = make_model()
    assert train(model, epochs=0) == []
    assert same(model, make_model())


def test_a_loss_that_is_not_finite_stops_with_its_place():
    def linear() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 4))

    with pytest.raises(ShapPruneError, match=r"diverged: the loss of step 2 in epoch 1 is (nan|inf); lower the"):
        train(linear(), lr=1e38)
    images = TRAIN[0].clone()
    images[7] = torch.nan
    with pytest.raises(ShapPruneError, match="diverged: the validation loss in epoch 1 is nan"):
        fit(linear(), *TRAIN, images, TRAIN[1], Recipe(epochs=1), progress=False)
    state = torch.get_rng_state()
    with pytest.raises(ShapPruneError, match="step 1 in epoch 1 is nan"):
        fit(make_model(), images, TRAIN[1], *VALIDATION, Recipe(epochs=1, batch=300), progress=False)
    assert torch.equal(state, torch.get_rng_state())


def test_frozen_parameters_are_left_alone():
    model = make_model()
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    train(model)
    assert torch.equal(model[0].weight, before)
    assert not same(model, make_model())


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_step_is_that_of_the_optimizer(optimizer):
    options = {"lr": 0.01, "weight_decay": 0.1}
    images, labels = TRAIN
    model, twin = (nn.Sequential(nn.Flatten(), nn.Linear(36, 4)) for _ in range(2))
    twin.load_state_dict(model.state_dict())
    fit(model, images, labels, *VALIDATION, Recipe(1, 300, optimizer, **options), progress=False)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    if optimizer == "sgd":
        step = torch.optim.SGD(twin.parameters(), momentum=0.9, **options)
    else:
        step = kinds[optimizer](twin.parameters(), **options)
    F.cross_entropy(twin(images), labels).backward()
    step.step()
    # Adam divides by the gradient's size, so the order of the images' sum shows in the last digits.
    assert torch.allclose(model[1].weight, twin[1].weight, atol=1e-5)


def test_a_line_an_epoch_where_nobody_watches(capsys):
    fit(make_model(), *TRAIN, *VALIDATION, Recipe(epochs=2))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2: loss ")


def test_a_bar_where_a_person_watches(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(make_model(), *TRAIN, *VALIDATION, Recipe(epochs=2))
    err = capsys.readouterr().err
    assert "10/10" in err
    assert "epoch 2/2" not in err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_seed_gives_the_same_network_again_on_a_gpu():
    models = [make_model() for _ in range(2)]
    state = torch.cuda.get_rng_state()
    for model in models:
        fit(model, *TRAIN, *VALIDATION, Recipe(2, augment=("flip", "crop", "rotate")), device="cuda", progress=False)
    assert same(*models)
    assert torch.equal(state, torch.cuda.get_rng_state())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_seed_gives_the_same_transformer_again_on_a_gpu():
    tokens = torch.randint(9, (64, 33), generator=torch.Generator().manual_seed(0))
    models = []
    for _ in range(2):
        with seeded(0):
            models.append(build("char_gpt", (32,), 9, width=32, depth=2, heads=4, head_dim=16, hidden=64))
        data = tokens[:, :-1], tokens[:, 1:]
        fit(models[-1], *data, *data, Recipe(3, batch=16, optimizer="adamw", lr=0.01), device="cuda", progress=False)
    assert same(*models)


def test_attention_that_saves_memory_is_left_out_of_training_and_handed_back():
    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.seen = nn.Linear(36, 4), set[bool]()

        def forward(self, images: Tensor) -> Tensor:
            self.seen.add(torch.backends.cuda.mem_efficient_sdp_enabled())
            return self.layer(images.flatten(1))

    model = Looks()
    train(model, epochs=1)
    assert model.seen == {False}
    assert torch.backends.cuda.mem_efficient_sdp_enabled()


def test_sequences_are_learnt_and_measured_by_what_is_to_follow():
    model, (tokens, labels) = Follows(), sequences(20)
    recipe = Recipe(epochs=15, batch=5, optimizer="adam", lr=0.3)
    rows = fit(model, tokens, labels, tokens[:5], labels[:5], recipe, progress=False)
    loss, accuracy = evaluate(model, tokens, labels)
    assert accuracy == 1
    assert loss == pytest.approx(F.cross_entropy(model.table(tokens).transpose(1, 2), labels).item())
    assert rows[0]["train_accuracy"] < 1


def test_labels_that_do_not_count_are_left_out_of_training_and_evaluation():
    model, (tokens, labels) = Follows(), sequences(4)
    labels = labels.clone()
    labels[:, 1:] = -100
    evaluated = evaluate(model, tokens, labels)
    assert evaluated[0] == pytest.approx(F.cross_entropy(model.table(tokens[:, 0]), labels[:, 0]).item())
    fit(model, tokens, labels, tokens, labels, Recipe(epochs=1, batch=4, lr=1.0), progress=False)
    with pytest.raises(ShapPruneError, match="sequence 2 has no label that counts"):
        evaluate(model, tokens, labels.index_fill(0, torch.tensor(2), -100))
    for train, held in ((tokens, labels), (labels, tokens)):
        with pytest.raises(ShapPruneError, match="the labels are the tokens themselves"):
            fit(model, tokens, train, tokens, held, Recipe(epochs=1), progress=False)


def test_sequences_are_not_changed_as_images_are():
    with pytest.raises(ShapPruneError, match="flip and crop change images, but these are sequences of tokens"):
        fit(Follows(), *sequences(4), *sequences(4), Recipe(epochs=1, augment=("flip", "crop")), progress=False)
