"""``python -m shapprune prune`` to a budget."""

from __future__ import annotations

import csv
import json
import re

import pytest
import torch

from shapprune import ShapPruneError
from shapprune.__main__ import main
from shapprune.networks.builders import build
from shapprune.networks.storage import load
from shapprune.pruning import distil
from shapprune.pruning.selection import Selector
from shapprune.pruning.shrink import Shrinker
from tests.toys import ConvNetwork, ResidualNetwork, randomise
from tests.unit.commands.files import facts_of, widths_of, write_images


@pytest.fixture
def flat(tmp_path):
    """Images without classes."""
    write_images(tmp_path, 12, ("flat",))
    return tmp_path / "flat"


def test_images_without_classes(call, flat, out, capsys):
    assert call("prune", "--macs", "50%", "--data", flat, "--distil", "none") == 0
    facts = facts_of(out)
    assert facts["after"]["macs"] <= 0.5 * facts["before"]["macs"]
    assert facts["budget"] == {"macs": 0.5}
    assert (facts["criterion"]["name"], facts["allocation"], facts["repair"]) == (
        "reconstruction",
        "damage",
        "least-squares",
    )
    assert (facts["images"], facts["seed"]) == (10, 0)
    assert list(facts["stages"]) == ["removed", "repaired"]
    assert facts["agreement"] == facts["stages"]["repaired"]
    assert facts["distilled"] == {"steps": 0, "rate": None, "augmentation": ["shift"]}
    assert facts["copies"] in (0, 4)
    assert "evaluation_images" not in facts
    assert not {"loss", "accuracy"} & facts["before"].keys()
    assert facts["peak_memory_mb"] > 0
    said = capsys.readouterr().out
    assert re.search(r"^  units removed +\d+\.\d% \(.*%\)$", said, flags=re.MULTILINE)
    assert re.search(r"^  weights refitted +\d+\.\d% ", said, flags=re.MULTILINE)
    assert "peak memory" in said
    assert "accuracy" not in said


def test_accuracy_on_a_folder_of_its_own(made, call, flat, out):
    given = ["--data", flat, "--evaluate-on", made / "photos" / "val"]
    assert call("prune", "--macs", "50%", "--distil", "none", *given) == 0
    facts = facts_of(out)
    assert facts["evaluation_images"] == 15
    assert facts["before"]["accuracy"] >= 0
    given = ["--model", out / "model.safetensors", *given]
    assert main(["evaluate", *map(str, given)]) == 0


def test_fewer_images_than_usual_are_all_taken(made, flat, out):
    given = ["--checkpoint", made / "net.pth", "--architecture", "tests.toys:ConvNetwork", "--data", flat]
    assert main(["prune", *map(str, given), "--macs", "50%", "--distil", "none", "--out", str(out)]) == 0
    assert facts_of(out)["images"] == 12


@pytest.mark.parametrize(
    ("choice", "holds"),
    [
        (["--macs", "4k"], lambda facts: facts["after"]["macs"] <= 4000),
        (["--parameters", "0.4"], lambda facts: facts["after"]["parameters"] <= 0.4 * facts["before"]["parameters"]),
        (["--megabytes", "60%"], lambda facts: facts["after"]["bytes"] <= 0.6 * facts["before"]["bytes"]),
        (["--ratio", "50%"], lambda facts: len(facts["kept"]["features.4"]) == 3),
        (["--macs", "50%", "--allocation", "uniform"], lambda facts: facts["allocation"] == "uniform"),
        (["--macs", "50%", "--repair", "none"], lambda facts: facts["repair"] == "none"),
        (["--macs", "50%", "--repair", "batchnorm"], lambda facts: facts["repair"] == "batchnorm"),
        (["--macs", "50%", "--criterion", "taylor"], lambda facts: facts["criterion"]["name"] == "taylor"),
        (["--macs", "60%", "--skip", "fc", "--flip"], lambda facts: facts["left_whole"] == {"fc": "it is skipped"}),
        (
            ["--macs", "70%", "--multiple", "2"],
            lambda facts: all(len(each) % 2 == 0 for each in facts["kept"].values()),
        ),
    ],
)
def test_choices(choice, holds, call, out):
    assert call("prune", *choice, "--distil", "none") == 0
    facts = facts_of(out)
    assert holds(facts)
    assert facts["distilled"]["augmentation"] == (["shift", "flip"] if "--flip" in choice else ["shift"])


def test_what_is_pruned_can_be_pruned_again(made, call, out, tmp_path):
    assert call("prune", "--macs", "70%", "--distil", "none", "--mean", 0.3, "--std", 0.2) == 0
    again = tmp_path / "again"
    given = ["--checkpoint", out / "model.safetensors", "--data", made / "photos", "--images", 8, "--macs", "70%"]
    assert main(["prune", *map(str, given), "--distil", "none", "--out", str(again)]) == 0
    assert sum(widths_of(again)) < sum(widths_of(out))
    assert set(facts_of(again)["kept"].get("fc", range(8))) <= set(facts_of(out)["kept"].get("fc", range(8)))
    assert facts_of(again)["data"]["mean"] == [0.3]


def test_a_residual_stream_is_pruned(tmp_path, out, call):
    torch.save(randomise(ResidualNetwork()).state_dict(), tmp_path / "res.pt")
    given = ["--checkpoint", tmp_path / "res.pt", "--architecture", "tests.toys:ResidualNetwork"]
    assert call("prune", *given, "--ratio", 0.5, "--distil", "none") == 0
    kept = facts_of(out)["kept"]
    assert {name: len(each) for name, each in kept.items()} == {"conv1": 3, "stem": 2, "conv2": 2}
    assert kept["stem"] == kept["conv2"]


def test_layers_left_whole_for_like_reasons_share_a_line(tmp_path, call, capsys):
    options = {"depth": 2, "width": 8, "heads": 2, "head_dim": 4, "hidden": 6}
    torch.save(randomise(build("vit", (1, 8, 8), 3, **options)).state_dict(), tmp_path / "vit.pt")
    given = ["--checkpoint", tmp_path / "vit.pt", "--architecture", "vit", "--options", json.dumps(options)]
    assert call("prune", *given, "--macs", 0.8, "--distil", "none") == 0
    whole = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left whole: ")]
    assert len(whole) == 3
    assert any("blocks.0.attn.proj, blocks.0.fc2" in line for line in whole)
    assert any("blocks.0.attn.qkv, blocks.1.attn.qkv: it makes queries, keys or values of" in line for line in whole)


def test_distilling_continues_after_an_interruption(call, out, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(distil, "_EVERY", 10)
    monkeypatch.setattr(distil, "_MADE", 5)
    steps, step = [], distil.Distilling._step

    def stop(self, number, lesson):
        steps.append(number)
        if stop_at and number == stop_at[0] and self._steps == 40:
            stop_at.clear()
            raise KeyboardInterrupt
        step(self, number, lesson)

    stop_at: list[int] = []
    monkeypatch.setattr(distil.Distilling, "_step", stop)
    monkeypatch.setattr("shapprune.pruning.crossfit.RATES", (1e-3,))
    given = ["--ratio", 0.5, "--repair", "none", "--distil", 40]
    assert call("prune", *given, "--out", tmp_path / "whole") == 0
    assert facts_of(tmp_path / "whole")["distilled"]["steps"] == 40
    assert re.search(r"^  distilled .*, 40 steps at 0.001$", capsys.readouterr().out, flags=re.MULTILINE)
    stop_at[:] = [25]
    with pytest.raises(KeyboardInterrupt):
        call("prune", *given)
    assert sorted(file.name for file in out.iterdir()) == ["distilling.unfinished", "prune.unfinished"]
    steps[:] = []
    assert call("prune", *given) == 0
    assert steps[-20:] == list(range(20, 40))
    assert steps[-21] != 19
    assert sorted(file.name for file in out.iterdir()) == ["model.json", "model.safetensors"]
    one, other = (load(folder / "model.safetensors", ConvNetwork).state_dict() for folder in (out, tmp_path / "whole"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def count_damage(monkeypatch):
    """A list that grows with each time that damage is measured."""
    damage, measured = Selector.damage, []
    monkeypatch.setattr(Selector, "damage", lambda self, *some: measured.append(1) or damage(self, *some))
    return measured


def test_budgets_that_were_met_are_not_met_again_after_an_interruption(call, out, tmp_path, monkeypatch, capsys):
    given = ["--budgets", "75%", "0.5", "2k", "--distil", "none"]
    assert call("prune", *given, "--out", tmp_path / "whole") == 0
    shrink, made = Shrinker.shrink, []
    measured = count_damage(monkeypatch)

    def stop(self, budget, checkpoint=None):
        if len(made) == 2:
            made.clear()
            raise KeyboardInterrupt
        made.append(budget.amount)
        return shrink(self, budget, checkpoint)

    monkeypatch.setattr(Shrinker, "shrink", stop)
    with pytest.raises(KeyboardInterrupt):
        call("prune", *given)
    assert (out / "prune.unfinished").exists()
    assert call("prune", *given) == 0
    assert (made, measured) == ([2000], [1])
    assert "macs-75-percent: 0.75 of the MACs, made before the command was cut off" in capsys.readouterr().out
    assert not (out / "prune.unfinished").exists()
    for folder in ("macs-75-percent", "macs-2000"):
        one, other = (load(each / folder / "model.safetensors", ConvNetwork) for each in (out, tmp_path / "whole"))
        pairs = zip(one.parameters(), other.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert len((out / "tradeoff.csv").read_text().splitlines()) == 5


def test_other_images_begin_anew(call, out, monkeypatch):
    given = ["--macs", 0.5, "--distil", "none"]
    with monkeypatch.context() as patched:
        patched.setattr(Shrinker, "shrink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            call("prune", *given)
    measured = count_damage(monkeypatch)
    assert call("prune", *given, "--seed", 1) == 0
    assert measured == [1]


def test_several_budgets(call, out, capsys):
    given = ["--budgets", "75%", "0.5", "2k", "--distil", "none"]
    assert call("prune", *given) == 0
    folders = ["macs-75-percent", "macs-50-percent", "macs-2000"]
    facts = [facts_of(out / folder) for folder in folders]
    assert [each["budget"]["macs"] for each in facts] == [0.75, 0.5, 2000]
    with (out / "tradeoff.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == ["intact", *folders]
    assert [int(row["macs"]) for row in rows[1:]] == [each["after"]["macs"] for each in facts]
    for row in rows:
        assert float(row["accuracy_low"]) <= float(row["accuracy"]) <= float(row["accuracy_high"])
    assert all((out / f"tradeoff{suffix}").stat().st_size for suffix in (".svg", ".png"))
    assert "tradeoff.csv" in capsys.readouterr().out


def test_several_budgets_of_another_measure_without_classes(call, flat, out, monkeypatch):
    given = ["--data", flat, "--distil", "none", "--measure", "parameters", "--budgets", "75%"]
    assert call("prune", *given, "50%") == 0
    assert facts_of(out / "parameters-50-percent")["before"]["parameters"] > 0
    shrink = Shrinker.shrink

    def stop_second(self, budget, **options):
        if budget.amount == 0.25:
            raise KeyboardInterrupt
        return shrink(self, budget, **options)

    monkeypatch.setattr(Shrinker, "shrink", stop_second)
    with pytest.raises(KeyboardInterrupt):
        call("prune", *given, "25%")
    files = [file.name for file in out.iterdir() if file.is_file()]
    assert files == ["prune.unfinished"]  # table and figure would be of other networks


def test_colours_are_mirrored_by_default(tmp_path, out, call):
    torch.save(torch.nn.Sequential(*_coloured()).state_dict(), tmp_path / "net.pth")
    given = ["--checkpoint", tmp_path / "net.pth", "--architecture", f"{__name__}:coloured", "--distil", "none"]
    assert call("prune", *given, "--macs", "70%") == 0
    assert facts_of(out)["distilled"]["augmentation"] == ["shift", "flip"]
    assert call("prune", *given, "--macs", "70%", "--no-flip") == 0
    assert facts_of(out)["distilled"]["augmentation"] == ["shift"]


def coloured():
    return torch.nn.Sequential(*_coloured())


def _coloured():
    nn = torch.nn
    return nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)


def test_milliseconds_are_passed_on(call, out, monkeypatch, capsys):
    def refuse(self, budget, **options):
        raise ShapPruneError(f"{budget.measure} {budget.amount}")

    monkeypatch.setattr(Shrinker, "check", lambda *_: None)
    monkeypatch.setattr(Shrinker, "shrink", refuse)
    assert call("prune", "--milliseconds", "80%", "--distil", "none") == 1
    assert "milliseconds 0.8" in capsys.readouterr().err
    assert not out.exists()
