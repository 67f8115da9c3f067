"""Every example runs as it is started by a reader, and prints what it promises."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from shapprune.core.operators import with_operators

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(folder: Path, name: str, *arguments: str) -> str:
    """What an example prints."""
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent)}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    return done.stdout


def test_every_example_is_listed_and_run():
    listed = re.findall(r"^\| `(\w+\.py)` \|", (EXAMPLES / "README.md").read_text(), flags=re.M)
    assert listed
    assert set(listed) == {path.name for path in EXAMPLES.glob("*.py")}
    assert all(f'"{name}"' in Path(__file__).read_text() for name in listed)


def test_own_network_is_pruned(tmp_path):
    printed = run(tmp_path, "prune_own_network.py")
    parameters = [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) parameters", printed)]
    assert len(parameters) == 3
    assert parameters[1] < 0.3 * parameters[0]
    assert (tmp_path / "small.safetensors").is_file()


def test_budgets_are_fitted_and_promises_kept(tmp_path):
    printed = run(tmp_path, "fit_budget.py")
    shares = re.findall(r"agree on [\d.]+% \(([\d.]+)% to ([\d.]+)%\), agrees on ([\d.]+)%", printed)
    assert len(shares) == 3
    assert all(float(low) - 3 <= float(found) <= float(high) + 3 for low, high, found in shares)
    assert float(shares[0][2]) > 95


def test_a_method_of_ones_own_makes_the_network_smaller(tmp_path):
    printed = run(tmp_path, "low_data_method.py")
    found = re.findall(r"(whole|half): ([\d,]+) multiply-accumulates, ([\d.]+)% right", printed)
    assert [name for name, *_ in found] == ["whole", "half"]
    whole, half = (int(macs.replace(",", "")) for _, macs, _ in found)
    assert 0.4 * whole < half <= 0.5 * whole
    assert float(found[1][2]) > 70  # a random choice without the repair is near 30


def test_criteria_are_compared(tmp_path):
    printed = run(tmp_path, "compare_criteria.py")
    areas = {line.split()[0]: float(line.split()[1]) for line in printed.splitlines()[1:]}
    assert len(areas) == 6
    assert areas["coalition-gradient"] < areas["random"]


def test_scores_of_a_language_model_are_used(tmp_path):
    pytest.importorskip("transformers", reason="requirements-transformers.txt is not installed")
    text = "O for a Muse of fire, that would ascend the brightest heaven of invention! " * 100
    store_language_model(tmp_path / "model", text)
    (tmp_path / "text").write_text(text)
    printed = run(tmp_path, "language_model.py", "model", "--text", "text")
    intact, without, quantised, again = (float(each) for each in re.findall(r": (\d+\.\d{4})", printed))
    assert without != intact
    assert 0 < abs(quantised - intact) < 0.1
    assert again == quantised
    small, large = (int(each.replace(",", "")) for each in re.findall(r"([\d,]{5,}) of ([\d,]+) bytes", printed)[0])
    assert small < 0.6 * large  # the table of tokens stays as it is


def store_language_model(folder: Path, text: str) -> None:
    """A Llama with random weights, and a tokenizer that makes a token of each character of a text."""
    with_operators(lambda: importlib.import_module("torchvision"))  # which transformers imports
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    known = {character: place for place, character in enumerate(sorted(set(text)))}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token=" "))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3}
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(vocab_size=len(known), **sizes)).save_pretrained(folder)


@pytest.mark.slow
def test_own_study_runs_and_its_results_are_read(tmp_path):
    run(tmp_path, "own_study.py", "own")
    printed = run(tmp_path, "read_results.py", "own")
    assert re.search(r"own +random +mean +\d\.\d+", printed)
    assert "hidden" in printed
