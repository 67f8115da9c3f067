"""Budgets as the command line has them."""

from __future__ import annotations

import argparse

import pytest

from shapprune import ShapPruneError
from shapprune.commands.budgets import folder_name, read_amount, read_budgets
from shapprune.pruning.budget import NAMES


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        *(("50%", 0.5), ("0.5", 0.5), (".5", 0.5), ("12.5%", 0.125), ("99.9%", 0.999), ("1", 1), ("20000000", 2e7)),
        *(("20M", 2e7), ("600k", 6e5), ("600K", 6e5), ("1.5G", 1.5e9), ("2e6", 2e6)),
    ],
)
def test_shares_and_numbers(text, amount):
    assert read_amount(text, "--macs") == pytest.approx(amount, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["", "%", "k", "half", "50 percent", "0%", "100%", "150%", "-5%", "nan%", "0", "0.0", "0k"]
)
def test_no_budgets(text):
    with pytest.raises(ShapPruneError, match=f"^--macs {text}"):
        read_amount(text, "--macs")


def read(**given):
    return read_budgets(argparse.Namespace(**dict.fromkeys([*NAMES, "budgets", "measure"]) | given))


def test_one_or_several():
    assert [(each.measure, each.amount) for each in read(parameters="600k")] == [("parameters", 600_000)]
    several = read(budgets=["75%", "12.5%", "2.5"], measure="megabytes")
    assert list(map(folder_name, several)) == ["megabytes-75-percent", "megabytes-12.5-percent", "megabytes-2.5"]
    assert [each.measure for each in read(budgets=["75%"])] == ["macs"]
    with pytest.raises(ShapPruneError, match=r"ratio 2\.0 is not strictly between 0 and 1"):
        read(ratio="2")
