"""Networks that fit budgets, made with a few training images without labels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from shapprune.core.progress import track
from shapprune.data.prepared import draw_images, tensors
from shapprune.gpu.device import machine_facts
from shapprune.networks.storage import save
from shapprune.pruning.budget import Budget
from shapprune.pruning.damage import Damage
from shapprune.pruning.maker import How
from shapprune.pruning.shrink import Pruned, Shrinker
from shapprune.workflow.computing.comparison import Comparison
from shapprune.workflow.computing.run import Run
from shapprune.workflow.store.work import Work


def keep_fitted(run: Run, work: Work) -> None:
    """Make the network fit each budget that is missing, measure what is left on test images, and keep it.

    The budgets of a trial share its images, orders and damage, which is a task of its own, so methods and later budgets
    share it too. Distilling that was cut off goes on from the file ``work.unfinished``.

    Args:
        run: the network.
        work: has the tasks, which are all of one method.
    """
    training = run.training

    @lru_cache(maxsize=1)
    def test(trial: int, images: int | str) -> Comparison:
        return Comparison(run, run.test_places(images, trial))

    trials = dict.fromkeys(task["parts"]["trial"] for task in work.missing.values())
    for trial in track(list(trials), "trials"):
        of_trial = {label: task["parts"] for label, task in work.tasks.items() if task["parts"]["trial"] == trial}
        sizes = {label: parts for label, parts in of_trial.items() if "budget" in parts}
        parts = next(iter(sizes.values()))
        chosen = draw_images(training, parts["images"], trial)
        images, _ = tensors(run.image_set, "train", chosen)
        shared = of_trial.keys() - sizes.keys()  # the task of the damage, if there is one
        known = next((_damage(work.facts[label]) for label in shared & work.facts.keys()), None)
        shrinker = Shrinker(run.model, images, how=_how(parts), damage=known)
        budgets = {
            label: Budget.of(each["measure"], each["budget"]) for label, each in sizes.items() if label in work.missing
        }
        for budget in budgets.values():
            shrinker.check(budget)
        for label in work.missing.keys() & shared:
            work.keep(label, _facts_of(shrinker.damage))
        for label, budget in budgets.items():
            pruned = shrinker.shrink(budget, work.unfinished)
            measured = test(0 if parts["test_images"] == "all" else trial, parts["test_images"]).measure(pruned.model)
            facts = {"network": dict(run.network), **_facts(pruned), **measured}
            facts = {**work.tasks[label]["names"], **facts, "calibration": chosen.tolist()}
            save(pruned.model, work.path(label, ".safetensors"), **facts, **machine_facts(run.device))
            work.keep_files(label, ".safetensors")
            if work.unfinished is not None:
                work.unfinished.unlink(missing_ok=True)


def _facts_of(damage: Mapping[str, Damage]) -> dict[str, Any]:
    """The damage of each layer as the store keeps it."""
    return {layer: {**vars(each), "measured": list(each.measured.items())} for layer, each in damage.items()}


def _damage(facts: Mapping[str, Any]) -> dict[str, Damage]:
    """The damage of each layer, from what is in the store."""
    return {layer: Damage(**{**each, "measured": dict(each["measured"])}) for layer, each in facts.items()}


def _how(parts: Mapping[str, Any]) -> How:
    same = ("criterion", "options", "aggregate", "allocation", "repair", "multiple")
    return How(
        **{name: parts[name] for name in same},
        copies=None if parts["copies"] == "auto" else parts["copies"],
        steps=parts["distil"],
        augmentation=parts.get("augment", ()),
        seed=parts["trial"],
        progress=True,
    )


def _facts(pruned: Pruned) -> dict[str, Any]:
    """What is known of a smaller network before any test image is looked at."""
    steps, rate = pruned.distilled or (0, None)
    agreement = pruned.agreement
    return {
        **pruned.cost["after"],
        "intact_macs": pruned.cost["before"]["macs"],
        "agreement": agreement.estimate,
        "agreement_low": agreement.low,
        "agreement_high": agreement.high,
        "stages": {stage: list(each) for stage, each in pruned.stages.items()},
        "left_whole": pruned.left_whole,
        "distil_steps": steps,
        "distil_rate": rate,
        "seconds": round(pruned.seconds, 6),
    }
