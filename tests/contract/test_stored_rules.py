"""What a stored rule reads is in the keys of its tasks."""

from __future__ import annotations

import ast
import re

import pytest

from shapprune.core.paths import REPOSITORY as ROOT

# Each param of a rule that keeps its results -> how it gets into the key of its tasks.
IN_THE_KEY = {
    "tasks": "they are the keys",
    "steps": "they are the keys",
    "network": "architecture, options, training, weights and data in the key of the network",
    "validation": "in the key of the network",
    "layers": "a task is of a layer",
    "criteria": "method and options in the key of scores",
    "criterion": "method and options in the key of steps",
    "train": "in the keys of networks that are trained again",
    "scoring": "images, site, payoff and precision in the keys of scores, tables and steps",
    "test_images": "in the keys of evaluations",
    "images": "in the keys of curves, tables and steps",
    "estimators": "method and options in the key of each estimator in each size",
    "curve_images": "in the key of the truth that estimators are compared with",
    "converged": "in the key of the truth where there is no coalition table",
    "device": "in no key: results are the same but for rounding, and their manifests tell it",
}


def rules() -> dict[str, str]:
    """The text of every rule by its name."""
    text = "\n".join(path.read_text() for path in sorted(ROOT.glob("rules/*.smk")))
    parts = re.split(r"^ *rule (\w+):$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def stored() -> dict[str, str]:
    return {name: text for name, text in rules().items() if "found=found(" in text}


def params(text: str) -> set[str]:
    block = re.search(r"^( *)params:\n((?:\1 +.*\n)+)", text, flags=re.MULTILINE)
    assert block
    return set(re.findall(rf"^{block[1]}    (\w+)=", block[2], flags=re.MULTILINE))


def test_these_rules_keep_their_results():
    assert set(stored()) == {
        *("train_network", "score_layers", "score_layer", "tabulate_coalitions", "search_oracle"),
        *("study_estimators", "measure_curves", "prune_layers", "evaluate_pruned"),
        *("fine_tune_pruned", "compress_network", "prune_untrained"),
    }


@pytest.mark.parametrize("rule", stored())
def test_params_are_in_the_key(rule):
    given = params(stored()[rule])
    assert "tasks" in given
    assert given <= IN_THE_KEY.keys()


@pytest.mark.parametrize("rule", stored())
def test_a_script_reads_what_its_rule_gives_it(rule):
    tree = ast.parse((ROOT / "scripts" / f"{rule}.py").read_text())
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "snakemake"
    }
    assert read <= {"log", "threads", "params", "resources", "wildcards", "input", "output"}


@pytest.mark.parametrize("path", sorted((ROOT / "shapprune").rglob("*.py")), ids=str)
def test_the_package_imports_from_where_things_are(path):
    """``from shapprune import name`` would hide from a key which module has it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "shapprune":
            for alias in node.names:
                home = ROOT / "shapprune" / alias.name
                assert home.with_suffix(".py").is_file() or (home / "__init__.py").is_file(), alias.name


@pytest.mark.parametrize("rule", rules())
def test_a_rule_that_asks_for_a_gpu_has_a_job_that_leases_it(rule):
    text, script = rules()[rule], ROOT / "scripts" / f"{rule}.py"
    asks = f'gpu=gpus("{rule}"),' in text
    assert asks == ("gpu=" in text)
    assert asks == ("gpu_slots=GPU_SLOTS," in text)
    lease = "with job(snakemake.log[0], snakemake.threads, snakemake.resources.gpu, snakemake.resources.gpu_slots):"
    if script.is_file():
        assert asks == (lease in script.read_text())
