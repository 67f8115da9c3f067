"""Training with a teacher: what its loss is, what is learnt from it, and what goes on after a cut."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.networks.losses import mean_loss
from shapprune.networks.recipe import Recipe
from shapprune.networks.teacher import Teacher
from shapprune.networks.training import fit
from tests.toys import Follows, sequences

GENERATOR = torch.Generator().manual_seed(0)
IMAGES, OTHERS = (torch.randn(count, 6, generator=GENERATOR) for count in (120, 40))
LABELS, OTHER_LABELS = (torch.randint(3, (len(some),), generator=GENERATOR) for some in (IMAGES, OTHERS))
RECIPE = Recipe(epochs=30, batch=20, optimizer="adam", lr=0.05)


class Constant(nn.Module):
    """Puts out the same for every image."""

    def __init__(self, *outputs: float) -> None:
        super().__init__()
        self.outputs = nn.Parameter(torch.tensor(outputs))

    def forward(self, images: Tensor) -> Tensor:
        return self.outputs.expand(len(images), -1)


class Sure(nn.Module):
    """Gives the class of each image that its first number is, with all the share."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        return 1e4 * nn.functional.one_hot(images[:, 0].long(), self.classes).float()


def linear() -> nn.Linear:
    network = nn.Linear(6, 3)
    with torch.no_grad():
        for each in network.parameters():
            each.zero_()
    return network


def test_the_loss_is_that_of_the_paper():
    """At temperature 2 the shares of the teacher are 1/5 and 4/5, those of the learner 1/4 and 3/4."""
    teacher = Constant(0.0, 2 * math.log(4))
    images, outputs = torch.zeros(1, 1), torch.tensor([[0.0, 2 * math.log(3)]])
    labels = torch.tensor([0])
    like_teacher = 2**2 * (0.2 * math.log(4) + 0.8 * math.log(4 / 3))
    like_label = math.log(10)  # at temperature 1 they are 1/10 and 9/10
    for share in (0.0, 0.25, 1.0):
        loss = Teacher(teacher, share, temperature=2.0).loss(images, outputs, labels)
        assert loss.item() == pytest.approx((1 - share) * like_label + share * like_teacher)
    smoothed = Teacher(teacher, 0.0).loss(images, outputs, labels, 0.1)
    assert smoothed.item() == pytest.approx(mean_loss(outputs, labels, 0.1).item())


def test_what_is_right_is_learnt_without_any_label_that_is():
    with torch.no_grad():
        teacher = linear()
        teacher.weight[:, :3] = 3 * torch.eye(3)
        right, other = (teacher(some).argmax(1) for some in (IMAGES, OTHERS))
    learner, wrong = linear(), (right + 1) % 3
    fit(learner, IMAGES, wrong, OTHERS, other, RECIPE, progress=False, teacher=Teacher(teacher))
    assert (learner(OTHERS).argmax(1) == other).float().mean() > 0.95
    assert all(each.grad is None for each in teacher.parameters())


def test_a_teacher_that_is_sure_is_as_good_as_labels():
    images = torch.cat([LABELS[:, None].float(), IMAGES[:, 1:]], 1)
    by_labels, by_teacher = linear(), linear()
    data = images, LABELS, images, LABELS
    rows = fit(by_labels, *data, RECIPE, progress=False)
    again = fit(by_teacher, *data, RECIPE, progress=False, teacher=Teacher(Sure(3), temperature=1.0))
    # Means over a batch are added up in another order.
    torch.testing.assert_close(by_teacher.weight, by_labels.weight, atol=1e-4, rtol=1e-3)
    assert again[-1]["train_loss"] == pytest.approx(rows[-1]["train_loss"], rel=1e-3)


def test_positions_that_do_not_count_are_left_out():
    network, (tokens, labels) = Follows(), sequences(4)
    with torch.no_grad():
        outputs, labels = network(tokens)["logits"], labels.clone()
    labels[:, 1:] = -100
    found = Teacher(network, temperature=1.0).loss(tokens, outputs, labels)
    shares = outputs[:, 0].softmax(1)
    assert found.item() == pytest.approx(-(shares * shares.log()).sum(1).mean().item(), rel=1e-5)


def test_the_teacher_is_used_in_eval_mode_and_handed_back():
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    before = {name: each.clone() for name, each in teacher.state_dict().items()}
    learner, state = linear(), torch.get_rng_state()
    fit(learner, IMAGES, LABELS, OTHERS, OTHER_LABELS, Recipe(epochs=1), progress=False, teacher=Teacher(teacher))
    assert all(torch.equal(each, before[name]) for name, each in teacher.state_dict().items())
    assert teacher.training
    assert teacher[2].training
    assert torch.equal(state, torch.get_rng_state())


def test_a_training_that_was_cut_off_goes_on_with_the_same_teacher_only(tmp_path, monkeypatch):
    path, data, teacher = tmp_path / "checkpoint", (IMAGES, LABELS, OTHERS, OTHER_LABELS), Constant(1.0, 0.0, 0.0)

    def train(teacher: Teacher | None, checkpoint=None) -> list[Tensor]:
        network = linear()
        fit(network, *data, Recipe(epochs=3), progress=False, checkpoint=checkpoint, teacher=teacher)
        return list(network.parameters())

    whole = train(Teacher(teacher))
    with monkeypatch.context() as cut:
        cut.setattr("shapprune.networks.training._report", lambda row, *_: 1 / (2 - row["epoch"]))
        with pytest.raises(ZeroDivisionError):
            train(Teacher(teacher), path)
    kept = path.read_bytes()
    assert all(map(torch.equal, train(Teacher(teacher), path), whole))
    for other in (None, Teacher(teacher, share=0.5), Teacher(Constant(0.0, 2.0, 0.0))):
        path.write_bytes(kept)
        assert all(map(torch.equal, train(other, path), train(other)))


@pytest.mark.parametrize(
    ("options", "said"), [({"share": 1.5}, "from 0 to 1, not 1.5"), ({"temperature": 0.0}, "above 0, not 0.0")]
)
def test_what_is_out_of_bounds_is_refused(options, said):
    with pytest.raises(ShapPruneError, match=said):
        Teacher(linear(), **options)
