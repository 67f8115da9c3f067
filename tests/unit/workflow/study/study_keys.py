"""A study of everything, and the keys of its tasks."""

from __future__ import annotations

from shapprune.workflow.study import config as study
from shapprune.workflow.study.plan import Plan

# Rules by what their tasks have in common.
SCORES = {"score_layers", "score_layer"}
OF_SCORES, STUDY = {"measure_curves", "search_oracle"}, {"study_estimators"}
TUNED, FRESH, SMALL = {"fine_tune_pruned"}, {"prune_untrained"}, {"compress_network"}
ZEROED, FEW_BITS = {"deactivate_units"}, {"quantise_network"}
RETRAINED, TRAINED = {"retrain_budgets"}, ("fine_tune", "compress", "budgets", "selective_tuning")
ON, PROBED = {"tune_units"}, {"probe_units"}
FITTED = RETRAINED | {"fit_budgets", "export_budgets"}
PRUNED, WALKED = ({"steps", rule, "evaluate_pruned"} for rule in ("prune_layers", "prune_by_walks"))
CHAINS = PRUNED | WALKED | TUNED
OF_UNITS = ZEROED | ON | PROBED
OF_GAMES = SCORES | OF_SCORES | STUDY | CHAINS | SMALL | OF_UNITS | {"tabulate_coalitions"}
ALL = OF_GAMES | FITTED | FEW_BITS | {"train_network"}  # of a trained network

CONFIG = {
    "networks": {
        "one": {
            "architecture": "lenet5",
            "data": "fashion-mnist-sample",
            "options": {"widths": [4, 6, 8, 5]},
            "seeds": [0, 1],
            "train": {"epochs": 3, "augment": ["flip"]},
        },
        "two": {"architecture": "mlp", "data": "digits", "options": {"widths": [9, 6]}, "train": {"epochs": 2}},
    },
    "splits": {"validation": 200},
    "scoring": {"images": 20, "trials": 2},
    "criteria": {
        "norms": {"method": "weight-norm", "norm": "l1"},
        "taylor": {},
        "walks": {"method": "permutation", "permutations": 2, "aggregates": ["mean", "mean+2std"]},
        "staged": {"method": "rescored", "of": "permutation", "options": {"permutations": 2}},
        "gradient": {"method": "coalition-gradient", "points": 2},
    },
    "curves": {"images": 100},
    "oracle": {"max_units": 6, "images": 50},
    "estimators": {
        "max_units": 8,
        "compared": {
            "shared": {"method": "permutation", "shared": True, "over": {"permutations": [1, 2]}},
            "taylor": {},
        },
    },
    "low_data": {"ratios": [0.5], "images": 20, "trials": 2},
    "fine_tune": {"criteria": ["taylor", "walks"], "images": [0, 50], "train": {"epochs": 2}},
    "untrained": {
        "criteria": ["walks"],
        "images": 30,
        "networks": {"fresh": {"architecture": "mlp", "data": "digits", "options": {"widths": [7, 5]}}},
    },
    "compress": {"criteria": ["norms", "gradient"], "sizes": {"half": {"ratio": 0.5}}, "train": {"epochs": 2}},
    "deactivation": {"criteria": ["taylor", "walks"], "shares": [0.2, 0.5]},
    "quantisation": {
        "images": 20,
        "trials": 2,
        "methods": {"round": {}, "ours": {"method": "shapley"}, "turns": {"method": "gptq", "in_turn": True}},
    },
    "budgets": {
        "sizes": [0.5],
        "images": 20,
        "trials": 2,
        "onnx": True,
        "train": {"epochs": 2},
        "methods": {
            "lean": {"criterion": "reconstruction", "distil": 10},
            "taylor": {"distil": 0},
            "taylor-plain": {"criterion": "taylor", "copies": 0, "distil": 0},
        },
    },
    "selective_tuning": {"methods": ["taylor", "random", "full"], "images": 30, "trials": 2, "train": {"epochs": 2}},
    "probe": {"methods": ["norms", "random", "all"], "images": 40, "trials": 2},
}


def all_keys(config: dict) -> dict[tuple, str]:
    """(network, rule, names of the task) -> key, of all tasks of a study."""
    plan = Plan(study.validate(config))
    return {
        (task.names["net"], job.rule, task.stem or job.table_manifest or f"{task.names}", label): task.task.key
        for job in plan.jobs()
        for label, task in job.tasks.items()
    }


def changed(before: dict, after: dict) -> set[tuple]:
    """The tasks of both whose keys differ."""
    return {task for task in before.keys() & after.keys() if before[task] != after[task]}
