"""The network of a command."""

from __future__ import annotations

from shapprune.__main__ import main


def test_no_manifest_and_no_architecture(made, capsys):
    assert main(["evaluate", "--model", str(made / "net.pth"), "--data", "digits"]) == 1
    assert "--architecture" in capsys.readouterr().err
