"""Networks pruned layer by layer with little data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from shapprune.core.files import read_json
from shapprune.criteria.scoring import score
from shapprune.data.prepared import draw_images, rest, tensors
from shapprune.gpu.device import machine_facts
from shapprune.networks.evaluation import evaluate
from shapprune.networks.storage import save
from shapprune.pruning.loop import Step, prune_steps
from shapprune.pruning.removal import kept_units
from shapprune.pruning.target import Target
from shapprune.workflow.computing.run import Run, size_of
from shapprune.workflow.store.work import Work, columns

_PARTS = {"training": "train", "test": "test"}  # low_data.scored_on -> the part of an image set


@dataclass(frozen=True)
class ScoringImages:
    """The images that score a chain, and repair it.

    Attributes:
        scored_on: ``training``, the training images that were not held back for validation, or ``test``.
        places: theirs, in the training or the test part of the image set.
        trial: which drew them.
    """

    scored_on: str
    places: np.ndarray
    trial: int

    @classmethod
    def draw(cls, run: Run, scored_on: str, images: int, trial: int) -> ScoringImages:
        """Draw those of a trial."""
        pool = run.test if scored_on == "test" else run.training
        return cls(scored_on, draw_images(pool, images, trial), trial)

    @classmethod
    def read(cls, chain: Mapping[str, Any]) -> ScoringImages:
        """Those that the manifest of a chain names."""
        return cls(chain["scored_on"], np.array(chain["images"]), chain["trial"])

    def tensors(self, run: Run) -> tuple[Tensor, Tensor]:
        """Images and labels, on the device of the network."""
        images, labels = tensors(run.image_set, _PARTS[self.scored_on], self.places)
        return images.to(run.device), labels.to(run.device)

    def places_to_measure(self, run: Run, test_images: int | str) -> np.ndarray:
        """Places of the test images that measure the chain: none of them scored.

        Args:
            run: the network.
            test_images: how many, or ``all``.
        """
        others = rest(run.test, self.places) if self.scored_on == "test" else run.test
        return others if test_images == "all" else draw_images(others, int(test_images), self.trial)


def keep_chain(run: Run, label: str, work: Work, steps: Work, evaluation: Work) -> None:
    """Prune a network layer by layer with little data, and keep each step, what is left, and how good each step is.

    A chain that was cut off goes on after its last finished step. Each step is measured where it is made: to make its
    network again takes as long as to measure it.

    Args:
        run: the network.
        label: of the chain.
        work: has the chain.
        steps: its steps, in the order of the layers; those that the store has are found.
        evaluation: has its evaluation, by the same label.
    """
    parts = work.tasks[label]["parts"]
    criterion: Mapping[str, Any] = next((task["parts"] for task in steps.tasks.values()), {})
    step_of = {task["parts"]["layer"]: step for step, task in steps.tasks.items()}
    done = {layer: steps.facts[step] for layer, step in step_of.items() if step in steps.facts}
    scoring = ScoringImages.draw(run, parts["scored_on"], parts["images"], parts["trial"])
    images, labels = scoring.tensors(run)
    measured = None
    if evaluation.missing:
        measured = _Measured(run, scoring.places_to_measure(run, evaluation.tasks[label]["parts"]["test_images"]))
    model, chain = run.model, []
    for step in prune_steps(
        model,
        list(step_of),
        Target(ratio=parts["ratio"]),
        images,
        labels,
        lambda game: score(game, criterion["method"], seed=parts["trial"], **criterion["options"]),
        aggregate=parts["aggregate"],
        done={layer: facts["removed"] for layer, facts in done.items()},
        repair=parts["repair"],
        **criterion.get("game", {}),
        examples=scoring.places,
        memory_mb=run.memory_mb,
    ):
        model = step.model
        if measured is not None:
            measured.add(step)
        ((layer, removed),) = step.removed.items()
        if layer in done:
            chain.append(done[layer])
            continue
        scores = step.scores[layer]
        cost = {"evaluations": scores.evaluations, "seconds": round(scores.seconds, 6)}
        chain.append({"layer": layer, "removed": removed, **cost})
        steps.keep(step_of[layer], chain[-1])
    if measured is not None:
        evaluation.keep(label, {"columns": columns(measured.rows)})
    facts = {**work.tasks[label]["names"], **size_of(model, images), "steps": chain, "images": scoring.places.tolist()}
    save(model, work.path(label, ".safetensors"), **facts, **machine_facts(run.device))
    work.keep_files(label, ".safetensors")


def keep_evaluation(run: Run, label: str, work: Work) -> None:
    """Measure a chain whose networks are no longer there: its steps are made again, without scoring.

    It comes to this where the number of test images was changed after the chain was made.

    Args:
        run: the network.
        label: of the evaluation.
        work: has the evaluation.
    """
    chain = read_json(f"{work.consumed(label, 'chain')}.json")
    scoring = ScoringImages.read(chain)
    removed = {step["layer"]: step["removed"] for step in chain["steps"]}
    measured = _Measured(run, scoring.places_to_measure(run, work.tasks[label]["parts"]["test_images"]))
    for step in prune_steps(
        run.model,
        list(reversed(removed)),  # the manifest has them in the order in which they were done
        Target(ratio=chain["ratio"]),
        scoring.tensors(run)[0],
        done=removed,
        repair=chain["repair"],
    ):
        measured.add(step)
    work.keep(label, {"columns": columns(measured.rows)})


class _Measured:
    """Loss, accuracy and size of a network and of what the steps of a chain leave of it, on some test images.

    Attributes:
        rows: the network as it was, and each step, as tables tell them.
    """

    def __init__(self, run: Run, places: np.ndarray):
        self._beginning, self._labels = run.beginning(places)
        self.rows: list[dict[str, Any]] = [{"step": 0, "layer": "", "units_left": "", **run.intact(places)}]

    def add(self, step: Step) -> None:
        """Measure the network after a step."""
        (layer,) = step.removed
        left = len(kept_units(step.model)[layer])
        row = {"step": step.number, "layer": layer, "units_left": left}
        loss, accuracy = evaluate(*self._beginning.split(step.model), self._labels)
        size = size_of(step.model, self._beginning.example)
        self.rows.append({**row, "loss": loss, "accuracy": accuracy, **size})
