"""``python -m shapprune evaluate``."""

from __future__ import annotations

import yaml

from shapprune.__main__ import main
from tests.unit.commands.files import TOY, facts_of, write_images


def test_evaluate_without_a_manifest(made, call, out, capsys):
    assert call("prune", "--ratio", 0.5, "--distil", "none") == 0
    capsys.readouterr()
    given = ["--model", made / "net.pth", "--architecture", TOY, "--data", made / "photos"]
    assert main(["evaluate", *map(str, given)]) == 0
    measured = yaml.safe_load(capsys.readouterr().out)
    assert measured.pop("images") == 15
    assert measured == {name: facts_of(out)["before"][name] for name in measured}


def test_images_without_classes(made, tmp_path, capsys):
    write_images(tmp_path, 4, ("flat",))
    given = ["--model", made / "net.pth", "--architecture", TOY, "--data", tmp_path / "flat"]
    assert main(["evaluate", *map(str, given)]) == 1
    assert "flat has no folders of classes, which accuracy needs: give --evaluate-on" in capsys.readouterr().err
    assert main(["evaluate", *map(str, given), "--evaluate-on", str(made / "photos")]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["images"] == 15
