import subprocess
import sys
from pathlib import Path

import pytest

from shapprune.core.errors import ShapPruneError
from shapprune.core.program import run_program

ROOT = Path(__file__).parents[3]


def fail():
    raise ShapPruneError("three is no colour")


def test_a_mistake_is_one_sentence(capsys):
    assert run_program(fail) == 1
    assert capsys.readouterr().err == "error: three is no colour\n"


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_exit_code_is_that_of_the_body(returned, code):
    assert run_program(lambda: returned) == code


def test_other_errors_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run_program(lambda: 1 // 0)


@pytest.mark.parametrize("lines", [2, 100_000], ids=["in the end", "while it prints"])
def test_a_reader_that_has_seen_enough_is_no_error(lines):
    body = f"for n in range({lines}): print(n)"
    code = f"from shapprune.core.program import run_program; raise SystemExit(run_program(lambda: exec({body!r})))"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == 1


BENCHMARKS = {path.stem: path.read_text() for path in sorted((ROOT / "benchmarks").glob("*.py"))}


@pytest.mark.parametrize("program", [name for name, text in BENCHMARKS.items() if "__main__" in text])
def test_benchmarks_tell_a_mistake_as_a_sentence(program):
    assert "sys.exit(run_program(main))" in BENCHMARKS[program]
