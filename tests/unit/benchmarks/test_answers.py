"""What a language model answers: by hand, on a small one."""

from __future__ import annotations

import json
from argparse import Namespace

import pytest
import torch

from benchmarks import answers, parameters
from benchmarks.answers import (
    COLUMNS,
    answer_loss,
    losses_behind,
    measure_answers,
    read_problems,
    read_questions,
    share_right,
    share_solved,
)
from shapprune import ShapPruneError
from shapprune.core.tables import read_rows
from tests.unit.transformers import CASES, build


class Characters:
    """A tokenizer: a token a character."""

    known = "\n 0123456789:#?.abcdefghijklmnopqrstuvwxyzQA"

    def __call__(self, text):
        return Namespace(input_ids=[self.known.index(each) + 1 if each in self.known else 0 for each in text])

    def decode(self, row, skip_special_tokens):
        return "".join(self.known[each - 1] for each in row.tolist() if 0 < each <= len(self.known))


@pytest.fixture
def folder(tmp_path):
    """Texts: two subjects with three questions each, the second of them long, and two problems."""
    (tmp_path / "mmlu" / "test").mkdir(parents=True)
    for subject in ("anatomy", "logic"):
        lines = ["question,choice0,choice1,choice2,choice3,answer"]
        lines += [f"{asked},yes,no,perhaps,who knows,{place}" for place, asked in enumerate(["a?", "b?" * 50, "c?"])]
        (tmp_path / "mmlu" / "test" / f"{subject}_test.csv").write_text("\n".join(lines))
    problems = [{"question": "one?", "answer": "1 + 1 #### 2"}, {"question": "twelve?", "answer": "#### 1,200"}]
    (tmp_path / "gsm8k-test.jsonl").write_text("\n".join(map(json.dumps, problems)))
    return tmp_path


def test_questions_and_problems_are_read(folder):
    questions = read_questions(folder / "mmlu" / "test", Characters(), each=2, longest=60)
    assert [each.right for each in questions] == [0, 2, 0, 2]  # the long one is left out
    assert len({tuple(each.asked) for each in questions}) == 2
    assert Characters().decode(torch.tensor(questions[0].choices[3]), True) == " who knows"
    problems = read_problems(folder / "gsm8k-test.jsonl", Characters())
    assert [each.number for each in problems] == [2, 1200]
    assert Characters().decode(torch.tensor(problems[1].asked), True) == "Question: twelve?\nAnswer:"
    with pytest.raises(ShapPruneError, match=r"no SUBJECT_test\.csv in .*mmlu$"):
        read_questions(folder / "mmlu", Characters())


def test_losses_of_answers_are_those_of_each_by_itself(folder):
    model = build(CASES["llama"])
    questions = read_questions(folder / "mmlu" / "test", Characters(), each=3, longest=60)
    right = 0
    for question in questions:
        expected = []
        for choice in question.choices:
            row = torch.tensor([*question.asked, *choice])
            with torch.no_grad():
                said = model(row[None]).logits[0].log_softmax(-1)
            places = range(len(question.asked), len(row))
            expected.append(-sum(float(said[place - 1, row[place]]) for place in places) / len(choice))
        found = losses_behind(model, question.asked, question.choices)
        assert found.tolist() == pytest.approx(expected, abs=1e-5)
        right += min(range(4), key=expected.__getitem__) == question.right
    assert share_right(model, questions) == right / len(questions)
    problems = read_problems(folder / "gsm8k-test.jsonl", Characters())
    alone = [float(losses_behind(model, each.asked, [each.answer])) for each in problems]
    assert answer_loss(model, problems) == pytest.approx(sum(alone) / 2)


@pytest.mark.parametrize(
    ("said", "share"),
    [
        (("#### 2", "1 #### 1200.0 2"), 1),
        (("3 2", "1200 eggs\nQuestion: 5"), 1),
        (("2 3", "1200"), 0.5),
        (("no", "5"), 0),
    ],
)
def test_problems_are_solved_by_the_number_that_a_text_ends_with(said, share, folder):
    class Says:
        def generate(self, rows, attention_mask, **options):
            assert (rows[attention_mask == 0] == 0).all()
            assert attention_mask[:, -1].all()
            made = [Characters()(each).input_ids for each in said]
            return torch.cat([rows, torch.tensor([each + [0] * (30 - len(each)) for each in made])], 1)

    problems = read_problems(folder / "gsm8k-test.jsonl", Characters())
    assert share_solved(Says(), problems, Characters()) == share


def test_every_network_has_a_row_and_the_table_is_gone_on_with(folder, monkeypatch):
    texts = torch.randint(43, (4, 13), generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(answers, "read_sequences", lambda *_: (texts[:, :-1], texts[:, 1:]))
    monkeypatch.setattr(answers, "METHODS", ("random", "gradient trace"))
    monkeypatch.setattr(answers, "SCHEMES", parameters.SCHEMES[:1])
    monkeypatch.setattr(answers, "GENERATED", 4)
    model, out = build(CASES["llama"]), folder / "table.csv"
    given = Namespace(text=folder, sequences=4, length=12)
    measure_answers(model, Characters(), given, out)
    rows = read_rows(out)
    assert tuple(rows[0]) == COLUMNS
    assert [(row["use"], row["method"]) for row in rows] == [
        ("intact", ""),
        ("deactivated", "random"),
        ("deactivated", "gradient trace"),
        ("quantised", "round"),
    ]
    assert len({row["answer_loss"] for row in rows}) == 4
    assert all((row["questions"], row["problems"]) == ("6", "2") for row in rows)
    monkeypatch.setattr(answers, "share_solved", lambda *_: pytest.fail("measured again"))
    measure_answers(model, Characters(), given, out)
    assert read_rows(out) == rows
