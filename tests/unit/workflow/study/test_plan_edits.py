"""Keys of a study's tasks: what an edited file changes."""

from __future__ import annotations

import pytest

from shapprune.core.paths import REPOSITORY as ROOT
from shapprune.workflow.store import keys
from shapprune.workflow.store.keys import code_of, fingerprint
from tests.unit.workflow.study.study_keys import (
    ALL,
    CHAINS,
    CONFIG,
    FEW_BITS,
    FITTED,
    FRESH,
    OF_SCORES,
    OF_UNITS,
    ON,
    PROBED,
    PRUNED,
    RETRAINED,
    SMALL,
    STUDY,
    TUNED,
    WALKED,
    ZEROED,
    all_keys,
    changed,
)

# An edited file -> the tasks of which rules have another key, and of which criteria where not of all.
EDITS = {
    "shapprune/shapley/permutation.py": ({"score_layer"} | OF_SCORES | STUDY | WALKED | TUNED | FRESH | ZEROED, None),
    "shapprune/criteria/heuristics.py": (
        {"score_layers"} | OF_SCORES | STUDY | PRUNED | TUNED | SMALL | FITTED | OF_UNITS,
        {"norms", "taylor"},
    ),
    "shapprune/criteria/rescored.py": ({"score_layer"} | OF_SCORES | WALKED, {"staged"}),
    "shapprune/shapley/gradient.py": ({"score_layer"} | OF_SCORES | WALKED | SMALL, {"gradient"}),
    "shapprune/game/engine.py": ((ALL | FRESH) - {"train_network"}, None),
    "shapprune/networks/training.py": (ALL, None),
    "shapprune/networks/evaluation.py": (ALL | FRESH, None),
    "shapprune/networks/plain.py": (ALL | FRESH, None),
    "shapprune/networks/vgg.py": (set(), None),  # no network of the study
    "shapprune/pruning/loop.py": (CHAINS | FRESH | SMALL, None),
    "shapprune/pruning/sweep.py": (CHAINS | FRESH | SMALL | FITTED, None),
    "shapprune/pruning/knapsack.py": (FITTED, None),
    "shapprune/networks/export.py": ({"export_budgets"}, None),
    "shapprune/networks/teacher.py": (RETRAINED, None),
    "scripts/fit_budgets.py": (FITTED, None),
    "scripts/deactivate_units.py": (ZEROED, None),
    "shapprune/parameters/deactivation.py": (ZEROED, None),
    "shapprune/parameters/quantisers.py": (FEW_BITS, None),
    "shapprune/parameters/low_rank.py": (ON, None),
    "shapprune/parameters/scored_parts.py": (OF_UNITS, None),
    "shapprune/parameters/probe.py": (PROBED, None),
    "shapprune/parameters/comparison.py": (set(), None),
    "shapprune/pruning/fine_tune.py": (TUNED, None),
    "shapprune/pruning/curves.py": ({"measure_curves"} | STUDY | CHAINS | FRESH | SMALL, None),
    "shapprune/oracle/sets.py": ({"tabulate_coalitions", "search_oracle"} | STUDY, None),
    "shapprune/oracle/tabulated.py": (STUDY, None),
    "scripts/train_network.py": (ALL, None),
    "scripts/measure_curves.py": ({"measure_curves"}, None),
    **dict.fromkeys(
        [
            *(
                "shapprune/workflow/figures/removal.py",
                "shapprune/workflow/computing/collect.py",
                "shapprune/workflow/study/config.py",
                "shapprune/core/errors.py",
            ),
            *(
                "shapprune/criteria/catalog.py",
                "shapprune/workflow/store/store.py",
                "shapprune/workflow/study/plan.py",
                "shapprune/workflow/stages/stage.py",
                "shapprune/workflow/stages/curves.py",
                "shapprune/workflow/study/schema.py",
            ),
            *("shapprune/gpu/device.py", "shapprune/gpu/leases.py", "shapprune/gpu/devices.py"),
        ],
        (set(), None),
    ),
}


@pytest.mark.parametrize("file", EDITS)
def test_an_edit_changes_what_it_makes(file, before, monkeypatch):
    assert (ROOT / file).is_file()
    rules, criteria = EDITS[file]
    edited = lambda path: "edited" if path == ROOT / file else fingerprint(path)  # noqa: E731
    monkeypatch.setattr(keys, "fingerprint", edited)
    code_of.cache_clear()
    found = changed(before, all_keys(CONFIG))
    code_of.cache_clear()
    assert {task[1] for task in found} == rules
    if criteria is not None:
        of = {task for task in found for name in criteria if name in f"{task[2]}/{task[3]}"}
        assert of == found
        assert {name for task in found for name in CONFIG["criteria"] if name in f"{task[2]}/{task[3]}"} == criteria
