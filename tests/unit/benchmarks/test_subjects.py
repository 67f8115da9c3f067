"""Questions and texts of the benchmarks of language models, and probes of neurons."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from benchmarks import language, subjects
from benchmarks.subjects import probe_layers, read_questions
from shapprune import ShapPruneError
from shapprune.networks.builders import build
from tests.toys import randomise


def tokenizer(text: str) -> SimpleNamespace:
    return SimpleNamespace(input_ids=[ord(character) % 64 for character in text])


def write_subject(folder, name: str, questions: list[str]) -> None:
    rows = [f'"{question}",yes,no,maybe,never,1' for question in questions]
    (folder / f"{name}_test.csv").write_text("\n".join(["question,choice0,choice1,choice2,choice3,answer", *rows]))


def test_questions_are_cut_and_labelled_by_their_subjects(tmp_path):
    write_subject(tmp_path, "algebra", [f"What is {number}?" for number in range(7)])
    write_subject(tmp_path, "botany", ["Is a rose, a flower?"] * 6 + ["No"])
    write_subject(tmp_path, "chess", ["Why?"])
    fitted, unseen, names = read_questions(tmp_path, tokenizer, subjects=2, each=4, length=36)
    assert names == ["algebra", "botany"]
    assert fitted[0].shape == (8, 36)
    assert (fitted[1].tolist(), unseen[1].tolist()) == ([0] * 4 + [1] * 4, [0, 0, 1, 1])
    text = "What is 4?\nA. yes\nB. no\nC. maybe\nD. never"
    assert unseen[0][0].tolist() == tokenizer(text).input_ids[:36]
    with pytest.raises(ShapPruneError, match=r"2 subjects in .* have 6 questions of 36 tokens, not 3"):
        read_questions(tmp_path, tokenizer, subjects=3, each=4, length=36)


def test_probes_are_of_each_layer_and_of_all(monkeypatch):
    monkeypatch.setattr(subjects, "_DRAWS", 1)
    model = randomise(build("char_gpt", shape=(7,), classes=9, width=8, depth=2, heads=2, head_dim=4, hidden=20)).eval()
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(24) % 2
    tokens = torch.randint(0, 4, (24, 8), generator=generator) + 4 * truth[:, None]
    layers, criteria = ["blocks.0.fc1", "blocks.1.fc1"], {"norm": ("weight-norm", {"norm": "l2"})}
    rows = probe_layers(model, layers, (tokens[:, :7], truth), (tokens[:, :7], truth), criteria, "mean")
    assert [row["layer"] for row in rows[:3]] == [*layers, "all"]
    counts = {(row["criterion"], row["layer"]): row["units"] for row in rows}
    assert counts["norm", "blocks.0.fc1"] == counts["random", "blocks.1.fc1"] == 2
    assert (counts["norm", "all"], counts["all", "all"]) == (4, 40)
    assert sum(row["criterion"] == "random" for row in rows) == 3
    assert [row["accuracy"] for row in rows if (row["criterion"], row["layer"]) == ("all", "all")] == [1.0]


def test_texts_of_other_characters_have_the_same_tokens(tmp_path, monkeypatch):
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "tinyshakespeare.txt").write_text("zounds\n" * 10)
    problem = json.dumps({"question": "7 × 2?", "answer": "14z"})
    for part in ("train", "test"):
        (folder / f"gsm8k-{part}.jsonl").write_text(f"{problem}\n")
    monkeypatch.setenv("SHAPPRUNE_DATA", str(tmp_path))
    plays, problems = language.load_plays(), language.load_problems()
    assert [len(part) for part in plays] == [63, 7]
    assert plays[0][6] == 1  # the end of a line
    assert plays[0].max() == problems[0].max() == 92
    text = "Question: 7 × 2?\nAnswer: 14z\n\n"
    assert problems[0].tolist() == [
        0 if letter == "×" else 1 if letter == "\n" else ord(letter) - 30 for letter in text
    ]
    (folder / "tinyshakespeare.txt").unlink()
    with pytest.raises(ShapPruneError, match=r"there is no file .*tinyshakespeare.txt; SHAPPRUNE_DATA names"):
        language.load_plays()
