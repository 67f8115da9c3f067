"""The headline in words, for a page and for a terminal."""

from __future__ import annotations

import pytest
from docutils.core import publish_parts

from shapprune.workflow.share import headlines, wording
from tests.unit.workflow.share.test_headlines import BUDGETS, LABELS, TABLES

ROWS = wording.in_words(headlines.headline(TABLES), LABELS | {(name, "mean"): name for name in ("taylor", "random")})


def test_rows_are_readable():
    areas, _, half, untrained = ROWS
    assert (areas["question"], areas["result"], areas["best"]) == (
        *("units leave, one layer at a time", "loss +0.100"),
        "shapley (mean+2std)",
    )
    assert areas["following"] == "loss +0.300 taylor"
    assert (half["best"], half["result"]) == ("taylor, batchnorm", "56.0 ± 1.4%")
    assert half["left"] == "40% of 100 parameters, 50% of 1k MACs"
    assert (half["seconds"], half["intact"], half["following"]) == ("3.0 s", "85.0%", "")
    assert untrained["result"] == "20.0%"


@pytest.mark.parametrize(
    ("protocol", "setting", "question"),
    [
        ("fine_tune", {"ratio": "0.5", "images": "100"}, "each layer loses 50%, 100 images retrain"),
        ("fine_tune", {"ratio": "0.07", "images": "all"}, "each layer loses 7%, all training images retrain"),
        ("compress", {"target": "half"}, "compressed to half, retrained"),
        (
            *("budgets", {"measure": "macs", "budget": "0.5", "images": "100"}),
            "50% of the MACs, 100 unlabelled images",
        ),
        (
            *("budgets", {"measure": "parameters", "budget": "40000.0", "images": "9"}),
            "40k parameters, 9 unlabelled images",
        ),
        (
            *("retrained", {"measure": "macs", "budget": "0.5", "images": "100"}),
            "50% of the MACs, 100 unlabelled images, trained on",
        ),
        ("deactivated", {"share": "0.3"}, "30% of the units at zero, nothing retrained"),
        ("quantised", {"bits": "4"}, "weights of 4 bits, nothing retrained"),
    ],
)
def test_questions_name_their_setting(protocol, setting, question):
    assert wording._question(protocol, setting) == question


def test_a_method_is_called_by_its_name():
    headline = headlines.headline(TABLES | {"budgets": BUDGETS})
    best, _ = wording.in_words(headline[headline["protocol"] == "budgets"], LABELS)
    assert (best["best"], best["result"], best["following"]) == ("lean", "71.0 ± 1.4%", "61.0% plain")


def test_the_page_is_whole():
    rows = [{**ROWS[0], "best": "odd_ *name*"}, *ROWS[1:]]
    html = publish_parts(wording.as_rst(rows), writer="html")["body"]
    assert "System Message" not in html
    assert html.count("<tr>") == 1 + len(ROWS)
    assert "odd_ *name*" in html


def test_lines_of_a_terminal_are_by_network():
    assert wording.as_text("toy", ROWS).splitlines()[1:3] == [
        "a, intact: 85.0% test accuracy",
        f"  {'units leave, one layer at a time':<52}{'loss +0.100':<22}shapley (mean+2std)",
    ]
