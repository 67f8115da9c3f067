"""What a language model answers: which choice of a question it finds likeliest, and which problems it solves.

Questions are of MMLU (Hendrycks et al. 2021), problems of GSM8K (Cobbe et al. 2021). A choice is as likely as its
tokens are on average behind the question: small models hardly tell the letters of choices apart. What is done to the
network beforehand is what `benchmarks.parameters` does.
"""

from __future__ import annotations

import csv
import json
import re
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.language import TEXTS, ask, read_sequences
from benchmarks.parameters import SCHEMES, deactivated_networks, quantised_networks
from shapprune.core.errors import ShapPruneError
from shapprune.core.tables import read_rows, write_table
from shapprune.networks.losses import cross_entropies, logits_of

COLUMNS = ("use", "method", "units", "questions", "right", "problems", "answer_loss", "solved")
# The scores by which neurons are chosen.
METHODS = ("random", "gradient trace", "first order, absolute (the paper's code)", "corrected sign, absolute")
EACH, PROBLEMS = 3, 32  # questions of a subject; problems
LONGEST, GENERATED = 200, 160  # tokens of a question, and of a solution
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_PAD = 0  # a token behind which nothing is read


@dataclass(frozen=True)
class Question:
    """A question with choices.

    Attributes:
        asked: its tokens.
        choices: the tokens of each choice.
        right: the place of the right one.
    """

    asked: list[int]
    choices: list[list[int]]
    right: int


@dataclass(frozen=True)
class Problem:
    """A problem.

    Attributes:
        asked: its tokens.
        answer: those of the reference answer.
        number: which that ends with.
    """

    asked: list[int]
    answer: list[int]
    number: float


def read_questions(folder: Path, tokenizer: Any, each: int = EACH, longest: int = LONGEST) -> list[Question]:
    """The first questions of every subject that are not too long.

    Args:
        folder: has a file ``SUBJECT_test.csv`` a subject, with columns question, choice0 to choice3, answer.
        tokenizer: from text to ``input_ids``.
        each: questions of a subject.
        longest: tokens that a question may have.

    Raises:
        ShapPruneError: there is no such file.
    """
    found = []
    for path in sorted(folder.glob("*_test.csv")):
        some = list[Question]()
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if len(some) == each:
                    break
                asked = tokenizer(ask(row["question"])).input_ids
                if len(asked) <= longest:
                    choices = [tokenizer(f" {row[f'choice{place}']}").input_ids for place in range(4)]
                    some.append(Question(asked, choices, int(row["answer"])))
        found += some
    if not found:
        raise ShapPruneError(f"there is no SUBJECT_test.csv in {folder}")
    return found


def read_problems(path: Path, tokenizer: Any, count: int = PROBLEMS) -> list[Problem]:
    """The first problems of a file with a JSON object a line."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines()[:count]:
        problem = json.loads(line)
        asked = tokenizer(ask(problem["question"])).input_ids
        number = find_number(problem["answer"])
        assert number is not None
        found.append(Problem(asked, tokenizer(f" {problem['answer']}").input_ids, number))
    return found


def find_number(text: str) -> float | None:
    """The number behind ``####``, or else the last one; None where there is none.

    Examples:
        >>> from benchmarks.answers import find_number
        >>> find_number("10 + 8 = 18 eggs #### 1,018 and 5"), find_number("That makes $18.50."), find_number("no")
        (1018.0, 18.5, None)
    """
    behind, anywhere = _NUMBER.findall(text.partition("####")[2]), _NUMBER.findall(text)
    found = behind[:1] or anywhere[-1:]
    return float(found[0].replace(",", "")) if found else None


@torch.inference_mode()
def losses_behind(model: nn.Module, asked: Sequence[int], answers: Sequence[Sequence[int]]) -> Tensor:
    """The mean loss of the tokens of each answer behind what is asked, in nats, [answers]."""
    most = max(map(len, answers))
    rows = torch.tensor([[*asked, *each, *[_PAD] * (most - len(each))] for each in answers])
    logits = logits_of(model(rows[:, :-1]))[:, len(asked) - 1 :]
    truth = rows[:, len(asked) :]
    tokens = cross_entropies(logits.flatten(0, 1), truth.flatten()).reshape(truth.shape)
    return torch.stack([row[: len(each)].mean() for row, each in zip(tokens, answers, strict=True)])


def share_right(model: nn.Module, questions: Sequence[Question]) -> float:
    """The share of questions whose right choice is the likeliest."""
    found = [int(losses_behind(model, each.asked, each.choices).argmin()) == each.right for each in questions]
    return sum(found) / len(found)


def answer_loss(model: nn.Module, problems: Sequence[Problem]) -> float:
    """The mean loss of the reference answers of problems, each problem counting as one."""
    return float(torch.cat([losses_behind(model, each.asked, [each.answer]) for each in problems]).mean())


@torch.inference_mode()
def share_solved(model: Any, problems: Sequence[Problem], tokenizer: Any, most: int = GENERATED) -> float:
    """The share of problems for which the likeliest next tokens, one after the other, end with the right number."""
    longest = max(len(each.asked) for each in problems)
    rows = torch.tensor([[*[_PAD] * (longest - len(each.asked)), *each.asked] for each in problems])
    there = torch.tensor([[0] * (longest - len(each.asked)) + [1] * len(each.asked) for each in problems])
    made = model.generate(
        rows, attention_mask=there, do_sample=False, num_beams=1, max_new_tokens=most, pad_token_id=_PAD
    )
    texts = [tokenizer.decode(row, skip_special_tokens=True).partition("\nQuestion:")[0] for row in made[:, longest:]]
    return sum(find_number(text) == each.number for text, each in zip(texts, problems, strict=True)) / len(problems)


def measure_answers(model: nn.Module, tokenizer: Any, given: Namespace, out: Path) -> None:
    """What a network answers intact, without a twentieth of its neurons, and with few bits; a row each.

    What is in the table is not measured again.
    """
    questions = read_questions(given.text / "mmlu" / "test", tokenizer)
    problems = read_problems(given.text / TEXTS["test"], tokenizer)
    tokens, labels = read_sequences(given.text, "train", tokenizer, given.sequences, given.length)
    rows: list[dict[str, Any]] = [*read_rows(out)]
    there = {(row["use"], row["method"], row["units"]) for row in rows}
    zeroed = [(method, "neurons") for method in METHODS if ("deactivated", method, "neurons") not in there]
    schemes = [each for each in SCHEMES if ("quantised", each.method, f"{each.bits} bits") not in there]
    intact: list[Any] = [(("intact", "", ""), model, {})] if ("intact", "", "") not in there else []
    made = chain(
        intact, deactivated_networks(model, tokens, labels, zeroed), quantised_networks(model, tokens, schemes)
    )
    for (use, method, units), changed, _ in made:
        row = {"use": use, "method": method, "units": units, "questions": len(questions), "problems": len(problems)}
        row |= {"right": share_right(changed, questions), "answer_loss": answer_loss(changed, problems)}
        rows.append(row | {"solved": share_solved(changed, problems, tokenizer)})
        write_table(out, COLUMNS, rows)
        print(rows[-1], flush=True)
