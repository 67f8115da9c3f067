"""``python -m shapprune evaluate``."""

from __future__ import annotations

import yaml

from shapprune.__main__ import main
from tests.unit.commands.files import TOY, facts_of


def test_evaluate_without_a_manifest(made, call, out, capsys):
    assert call("prune", "--ratio", 0.5) == 0
    capsys.readouterr()
    given = ["--model", made / "net.pth", "--architecture", TOY, "--data", made / "photos"]
    assert main(["evaluate", *map(str, given)]) == 0
    measured = yaml.safe_load(capsys.readouterr().out)
    assert measured.pop("images") == 15
    assert measured == {name: facts_of(out)["before"][name] for name in measured}
