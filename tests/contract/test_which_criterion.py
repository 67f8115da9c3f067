"""The page that says which criterion to take, and the defaults that follow from it."""

from __future__ import annotations

import argparse
import re

import pytest

from shapprune.commands import prune
from shapprune.commands.arguments import COALITION_GRADIENT
from shapprune.commands.shrinking import read_how
from shapprune.core.paths import REPOSITORY
from shapprune.core.strict_yaml import parse_yaml
from shapprune.pruning.maker import How
from shapprune.workflow.study.schema import schema

PAGE = (REPOSITORY / "docs" / "which-criterion.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def defaults() -> dict[str, list[str]]:
    """Each row of the last table by the first name in it: criterion, allocation and repair."""
    rows = PAGE.split("## The defaults that follow")[1].strip().splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {re.findall(r"`(.+?)`", first)[0]: [each.strip("`") for each in rest] for first, *rest in cells}


def test_of_the_library(defaults):
    how = How()
    assert defaults["shapprune.prune"] == [how.criterion, how.allocation, how.repair]


def test_of_the_command_line(defaults):
    parser = argparse.ArgumentParser()
    prune.add_command(parser.add_subparsers())
    words = ["prune", "--checkpoint", "a", "--architecture", "b", "--data", "c", "--macs", "50%", "--out", "d"]
    how = read_how(parser.parse_args(words))
    assert defaults["python -m shapprune prune"] == [how.criterion, how.allocation, how.repair]
    assert defaults["python -m shapprune score"] == [COALITION_GRADIENT, "", ""]


def test_of_a_study(defaults):
    rules = schema()["properties"]["budgets"]["properties"]["methods"]["additionalProperties"]["properties"]
    assert defaults["budgets.methods"][1:] == [rules[name]["default"] for name in ("allocation", "repair")]
    config = parse_yaml((REPOSITORY / "config.yaml").read_text(encoding="utf-8"), "config.yaml")
    first, settings = next(iter(config["budgets"]["methods"].items()))
    assert first == defaults["shapprune.prune"][0]
    assert not {"criterion", "allocation", "repair"} & settings.keys()


def test_the_answer_is_five_sentences():
    answers = re.findall(r"^\d\. (.*?)(?=^\d\. |^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert len(answers) == 5
    assert all(answer.strip().endswith(".") and ". " not in " ".join(answer.split())[:-1] for answer in answers)
