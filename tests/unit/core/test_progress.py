"""Progress: silent when short, lines in a log, all steps passed on."""

from __future__ import annotations

from shapprune.core import progress


def test_all_steps_are_passed_on_in_silence(capsys):
    assert list(progress.track([3, 1, 2], "steps")) == [3, 1, 2]
    assert capsys.readouterr().err == ""


def test_lines_tell_how_much_is_left(monkeypatch, capsys):
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    assert list(progress.track(range(2), "walks")) == [0, 1]
    assert list(progress.track(iter("a"), "unknown length")) == ["a"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("walks: 1 of 2, ")
    assert lines[0].endswith(" s left")
    assert lines[2] == "unknown length: 1"
