"""Methods are measured as agreed, once; what is not what was asked for is a failed row."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.low_data import networks, rows, running
from benchmarks.low_data.__main__ import main
from benchmarks.low_data.methods import ABLATION, METHODS, REFERENCE, find_method
from benchmarks.low_data.rows import COLUMNS, Table
from shapprune.core.errors import ShapPruneError
from shapprune.core.resolve import resolve_function
from shapprune.data.prepared import draw_images, tensors
from shapprune.data.sets import load
from shapprune.networks.builders import build
from shapprune.networks.weights import load_weights
from shapprune.workflow.store import keys
from tests.unit.benchmarks.low_data import toy

TOY = "tests.unit.benchmarks.low_data.toy"
WHOLE = 64 * 256 + 256 * 256 + 256 * 10


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with the weights of a small network, the only one of the benchmark."""
    monkeypatch.setitem(networks.NETWORKS, "mlp", toy.network())
    monkeypatch.chdir(tmp_path)
    toy.CALLS.clear()
    return toy.write_weights(tmp_path)


def run(*words: str, methods: tuple[str, ...]) -> tuple[int, list[dict[str, str]]]:
    """The exit code and the table of a run on one draw of ten images."""
    fixed = ["--networks", "mlp", "--weights", ".", "--images", "10", "--threads", "1", "--device", "cpu"]
    names = [method if ":" in method else f"{method}={TOY}:{method}" for method in methods]
    code = main(["run", *names, *fixed, "--out", "budgets.csv", "--store", "store", *words])
    with Path("budgets.csv").open(newline="") as file:
        return code, list(csv.DictReader(file))


def test_accounting_of_a_network_counted_by_hand(folder):
    code, (row,) = run("--draws", "1", "--budgets", "0.5", methods=("cut",))
    assert code == 0
    assert tuple(row) == COLUMNS
    about = [row[name] for name in ("net", "weights", "images", "draw", "method", "budget", "labels", "failed")]
    assert about == ["mlp", "mlp.pth", "10", "0", "cut", "0.5", "no", ""]
    macs = 64 * 128 + 128 * 128 + 128 * 10
    assert int(row["macs"]) == macs
    assert float(row["share"]) == macs / WHOLE
    assert int(row["parameters"]) == macs + 128 + 128 + 10
    assert float(row["milliseconds"]) > 0
    assert float(row["seconds"]) >= 0 <= float(row["cpu_seconds"])


def test_all_test_images_measure_and_the_bits_say_which_are_right(folder):
    _, (row,) = run("--draws", "1", "--budgets", "0.5", methods=("cut",))
    digits = load("digits")
    images, labels = tensors(digits, "test")
    model = load_weights(build("mlp", (1, 8, 8), 10), "mlp.pth")
    with torch.no_grad():
        whole, small = model(images), toy.cut(model, images, 0.5)(images)
    right = small.argmax(1) == labels
    table = Table.read("budgets.csv")
    np.testing.assert_array_equal(table.bits(row), right.numpy())
    assert 0 < float(row["accuracy"]) == right.double().mean()
    assert float(row["agreement_test"]) == (small.argmax(1) == whole.argmax(1)).double().mean()
    assert float(row["accuracy_intact"]) == (whole.argmax(1) == labels).double().mean()
    loss = float(torch.nn.functional.cross_entropy(small.double(), labels))
    assert float(row["loss"]) == pytest.approx(loss, rel=1e-5)  # float32 outputs, in batches of another size


def test_images_are_drawn_as_fixed(folder):
    opened = running.Opened(toy.network(), running.Settings({}, 10, 1, (0.5,), folder, "cpu"))
    digits = load("digits")
    chosen = np.sort(np.random.default_rng([0, 3]).choice(1437, 10, replace=False))
    np.testing.assert_array_equal(draw_images(np.arange(1437), 10, 3), chosen)
    torch.testing.assert_close(opened.calibration(3).images, tensors(digits, "train", chosen)[0], rtol=0, atol=0)


def test_a_class_gets_labels_and_the_draw_and_shares_its_start(folder):
    _, found = run("--draws", "2", methods=("ByLabels",))
    assert toy.CALLS == ["ByLabels", "cut", "cut", "cut"] * 2
    assert [row["labels"] for row in found] == ["yes"] * 6
    assert [row["agreement_low"] for row in found] == ["0.4"] * 6


def test_what_was_measured_is_found_again(folder):
    _, before = run("--draws", "2", methods=("cut",))
    assert toy.CALLS == ["cut"] * 6
    Path("budgets.csv").unlink()
    _, again = run("--draws", "2", "--budgets", "0.5", methods=("cut",))
    assert toy.CALLS == ["cut"] * 6
    assert again == [row for row in before if row["budget"] == "0.5"]
    _, more = run("--draws", "3", methods=("cut",))
    assert toy.CALLS == ["cut"] * 9
    assert len(more) == 9


def test_an_edited_method_is_measured_again_and_others_are_not(folder, monkeypatch):
    own = "import shapprune\n\n\ndef shrink(model, images, budget):\n    units = {}\n"
    own += "    return shapprune.remove_units(model, units, images[:2])\n"
    units = '{"fc1": list(range(100)), "fc2": list(range(100))}'

    def keys_of(text: str, draws: int) -> dict[str, list[str]]:
        """Method -> the keys of its rows after a run."""
        (folder / "one_of_mine.py").write_text(text)
        for each in (keys.code_of, keys.fingerprint, keys._parse, keys._imports, keys._module_file):
            each.cache_clear()
        run("--draws", f"{draws}", "--budgets", "0.75", methods=("one_of_mine:shrink", "cut"))
        found: dict[str, list[str]] = {}
        for row in Table.read("budgets.csv").rows.values():
            found.setdefault(row["method"], []).append(row["key"])
        return found

    monkeypatch.syspath_prepend(str(folder))
    first = keys_of(own.replace("{}", units), 2)
    edited = keys_of(own.replace("{}", units.replace("100", "101")), 1)
    assert [len(each) for each in first.values()] == [2, 2]
    assert edited["cut"] == first["cut"]
    assert toy.CALLS == ["cut"] * 2
    # The second draw was of the code before, so it has left the table with its bits.
    assert len(edited["one_of_mine:shrink"]) == 1
    assert edited["one_of_mine:shrink"][0] not in first["one_of_mine:shrink"]
    assert set(np.load("budgets.npz").files) == {key for each in edited.values() for key in each}


REFUSED = {
    "cut_too_little": r"over budget: 84,160 multiply-accumulates, and 42,240 are allowed",
    "same": r"its network is not smaller: 84,480 multiply-accumulates, and the intact one 84,480",
    "other_classes": r"its network puts out \[2, 9\] for two images, not \[2, 10\]",
    "nothing": r"it returned a NoneType, not a network",
    "not_finite": r"its network puts out numbers that are not finite",
    "fails": r"it raised ValueError: no idea",
}


@pytest.mark.parametrize("method", REFUSED)
def test_what_was_not_asked_for_is_a_failed_row(method, folder):
    code, (row,) = run("--draws", "1", "--budgets", "0.5", methods=(method,))
    assert code == 1
    assert re.fullmatch(REFUSED[method], row["failed"])
    assert row["accuracy"] == row["macs"] == ""
    assert not Table.read("budgets.csv").bits(row).any()
    run("--draws", "1", "--budgets", "0.5", methods=(method,))
    # An error may lie outside the method, so it is tried again; what was refused is known.
    assert toy.CALLS.count(method) == {"fails": 2, "cut_too_little": 1}.get(method, 0)


def test_a_failed_method_stops_no_other(folder):
    code, found = run("--draws", "1", "--budgets", "0.5", methods=("fails", "cut"))
    assert code == 1
    assert [bool(row["failed"]) for row in found] == [True, False]


def test_methods_may_change_their_copies_only(folder):
    _, found = run("--draws", "1", methods=("cut", "changes_what_it_is_given", "cut"))
    assert {row["accuracy_intact"] for row in found} == {found[0]["accuracy_intact"]}
    code, spoiled = run("--draws", "1", methods=("Spoils",))
    assert code == 1
    assert all("it changed the network that it was given" in row["failed"] for row in spoiled[-3:])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere:method"], "there is no module 'nowhere'"),
        (["uniforn"], "'uniforn' is neither package.module:function nor a known name; did you mean 'uniform'"),
        ([f"l2={TOY}:cut"], "'l2' is the name of a method of the benchmark"),
        ([f"{TOY}:cut", "--budgets", "0.4"], "0.4 is no budget of the benchmark; its budgets are 0.75, 0.5, 0.25"),
        ([f"{TOY}:cut", "--draws", "0"], "0 draws were asked for, 1 or more are needed"),
        ([f"{TOY}:cut", "--networks", "resnet21"], "unknown network 'resnet21'; did you mean 'resnet"),
        (
            [f"{TOY}:cut", "--networks", "vgg16"],
            "vgg16-cifar10.safetensors is missing: put it there (trained by studies",
        ),
    ],
)
def test_mistakes_are_said_before_anything_is_measured(words, said, folder, capsys):
    assert main(["run", *words, "--weights", "."]) == 1
    assert said in capsys.readouterr().err
    assert not toy.CALLS
    assert not list(folder.rglob("*.csv"))


def test_rows_without_their_bits_are_refused(folder):
    run("--draws", "1", "--budgets", "0.5", methods=("cut",))
    Path("budgets.npz").unlink()
    with pytest.raises(ShapPruneError, match=r"budgets.npz lacks the bits of"):
        Table.read("budgets.csv")
    Path("other.csv").write_text("net,seed\nmlp,0\n")
    with pytest.raises(ShapPruneError, match=r"other.csv is no table of this benchmark: .*seed"):
        rows.joined([Path("other.csv")])


def test_every_named_method_can_be_imported_and_the_ablation_is_of_them():
    for name, method in METHODS.items():
        assert find_method(name) == (name, method)
        assert callable(resolve_function(method.function, "method"))
        assert all(resolve_function(each, "function") for each in method.functions)
    assert {REFERENCE, *(name for _, name in ABLATION)} <= METHODS.keys()
    assert len(METHODS["rescored"].functions) == 3  # it is made of another criterion
