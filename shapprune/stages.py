"""The stages of a study, from files to files: what the scripts of the workflow call."""

from __future__ import annotations

import platform
import resource
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from shapprune import oracle
from shapprune.config import options_of
from shapprune.counting import count_macs, count_parameters
from shapprune.criteria import score
from shapprune.curves import removal_curve
from shapprune.data import DataInfo, ImageSet, draw_images, read_prepared, rest, splits, tensors
from shapprune.files import read_json
from shapprune.game import LayerGame
from shapprune.gpu import choose_device
from shapprune.networks import build
from shapprune.networks.storage import fetch_weights, load, load_weights, save
from shapprune.protocols.low_data import prune_sequentially
from shapprune.recipe import Recipe
from shapprune.removal import kept_units, remove_units
from shapprune.score_files import read_scores, write_scores
from shapprune.training import evaluate, fit, seeded

HISTORY = ("epoch", "lr", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "seconds")
CURVES = ("net", "seed", "criterion", "aggregate", "trial", "layer", "units", "removed", "loss", "accuracy")
OVERLAPS = (
    *("net", "seed", "layer", "criterion", "aggregate", "trial"),
    *("size", "overlap_low", "overlap_high", "cumulative_overlap", "gap"),
)
LOW_DATA = (
    *("net", "seed", "criterion", "aggregate", "ratio", "trial"),
    *("step", "layer", "units_left", "loss", "accuracy", "parameters", "macs"),
)


@dataclass(frozen=True)
class Run:
    """A trained network of the study and its data.

    Attributes:
        model: the network, on its device, in eval mode.
        network: its entry in the configuration.
        image_set: its data.
        validation: places of the training images that were held back from training.
        device: ``cpu`` or ``cuda``.
        name: ``net`` and ``seed``, as tables name the run.
        memory_mb: about how much memory a call of the network may take.
    """

    model: nn.Module
    network: Mapping[str, Any]
    image_set: ImageSet
    validation: np.ndarray
    device: str
    name: dict[str, Any]
    memory_mb: int

    def game(self, layer: str, part: str, chosen: np.ndarray, **options: Any) -> LayerGame:
        """The game of a layer on some images of the training or the test part."""
        images, labels = tensors(self.image_set, part, chosen)
        return LayerGame(self.model, layer, images, labels, examples=chosen, memory_mb=self.memory_mb, **options)

    @property
    def test(self) -> np.ndarray:
        """Places of all test images."""
        return np.arange(len(self.image_set.test_labels))


def open_run(model: str, data: str, network: Mapping[str, Any], validation: int, device: str, memory_mb: int) -> Run:
    """Read a trained network and its data.

    Args:
        model: the safetensors file.
        data: the prepared data set.
        network: the network's entry in the configuration.
        validation: how many training images are held back.
        device: ``auto``, ``cpu`` or ``cuda``.
        memory_mb: about how much memory a call of the network may take.
    """
    image_set = read_prepared(data)
    device = choose_device(device)
    opened = load(model, _builder(network, image_set.info)).to(device).eval()
    manifest = read_json(Path(model).with_suffix(".json"))
    held_back = splits(len(image_set.train_labels), validation)[1]
    name = {"net": manifest["net"], "seed": manifest["seed"]}
    return Run(opened, network, image_set, held_back, device, name, memory_mb)


def make_network(
    network: Mapping[str, Any], image_set: ImageSet, validation: int, seed: int, device: str, checkpoint: Path
) -> tuple[nn.Module, list[dict[str, float]], dict[str, Any]]:
    """Train a network by its recipe or load its weights, and measure it.

    Args:
        network: its entry in the configuration.
        image_set: its data.
        validation: how many training images are held back.
        seed: of the initial weights and the training.
        device: ``auto``, ``cpu`` or ``cuda``.
        checkpoint: file from which a training that was cut off goes on.

    Returns:
        The network, a row an epoch (none for loaded weights), and the facts of the manifest.
    """
    device = choose_device(device)
    training, held_back = splits(len(image_set.train_labels), validation)
    held = tensors(image_set, "train", held_back)
    make = _builder(network, image_set.info)
    history: list[dict[str, float]] = []
    if "train" in network:
        with seeded(seed):
            model = make()
        recipe = Recipe(**network["train"])
        train = tensors(image_set, "train", training)
        history = fit(model, *train, *held, recipe, seed=seed, device=device, checkpoint=checkpoint)
    else:
        weights = network["weights"]
        path = weights if isinstance(weights, str) else fetch_weights(**weights, folder="data/raw/weights")
        model = load_weights(make(), path).to(device)
    model.eval()
    test_images, test_labels = tensors(image_set, "test")
    validation_loss, validation_accuracy = evaluate(model, *held)
    loss, accuracy = evaluate(model, test_images, test_labels)
    facts = {
        "seed": seed,
        "network": dict(network),
        "data": asdict(image_set.info),
        "parameters": count_parameters(model),
        "macs": count_macs(model, test_images[:1].to(device)),
        "validation_loss": validation_loss,
        "validation_accuracy": validation_accuracy,
        "test_loss": loss,
        "test_accuracy": accuracy,
        **machine_facts(device),
    }
    return model, history, facts


def rules_of(scoring: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a LayerGame among the configuration's ``scoring``."""
    return {key: scoring[key] for key in ("site", "payoff", "precision")}


def write_layer_scores(
    run: Run,
    layer: str,
    folder: Path,
    criteria: Mapping[str, Mapping[str, Any]],
    scoring: Mapping[str, Any],
    unfinished: Path | None = None,
) -> None:
    """Score a layer by several criteria, each in its number of trials, and write them.

    The files are ``{criterion}/{layer}/trial{trial}.npz``, and ``.json`` beside each.

    A trial is a draw of scoring images from the validation images, the same for all criteria, and the seed of what a
    criterion draws itself.

    Args:
        run: the network.
        layer: the layer.
        folder: where the files go.
        criteria: entries of the configuration's ``criteria``.
        scoring: the configuration's ``scoring``.
        unfinished: a folder for the checkpoints of long scorings, from which a call that was cut off goes on; it is
            deleted when all files are written.
    """
    for trial in range(max(entry["trials"] for entry in criteria.values())):
        chosen = draw_images(run.validation, scoring["images"], trial)
        game = run.game(layer, "train", chosen, **rules_of(scoring))
        for name, entry in criteria.items():
            if trial >= entry["trials"]:
                continue
            checkpoint = None if unfinished is None else unfinished / f"{name}-trial{trial}.pt"
            scores = score(game, entry["method"], seed=trial, checkpoint=checkpoint, **options_of(entry))
            facts = {
                **run.name,
                "layer": layer,
                "criterion": name,
                "options": options_of(entry),
                "trial": trial,
                **rules_of(scoring),
                **machine_facts(run.device),
            }
            write_scores(_score_file(folder, name, layer, trial), scores, chosen, facts, entry["aggregates"])
            open_end = ", not settled: the permutations were spent first" if scores.settled is False else ""
            cost = f"{scores.evaluations:g} evaluations, {scores.seconds:.2f} s{open_end}"
            print(f"{layer}: {name}, trial {trial}: {cost}", flush=True)
    if unfinished is not None:
        shutil.rmtree(unfinished, ignore_errors=True)


def read_orders(
    folder: Path, layer: str, criteria: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """The removal orders of a layer that all criteria give, with criterion, aggregate and trial."""
    for name, entry in criteria.items():
        for trial in range(entry["trials"]):
            scores = read_scores(_score_file(folder, name, layer, trial))
            for aggregate in entry["aggregates"]:
                yield {"criterion": name, "aggregate": aggregate, "trial": trial}, scores.order(aggregate).numpy()


def layer_curves(
    run: Run, layer: str, folder: Path, criteria: Mapping[str, Mapping[str, Any]], images: int
) -> Iterator[dict[str, Any]]:
    """Rows of the removal curves of a layer, one for each criterion, aggregate, trial and number of removed units.

    All curves are of the same test images, drawn once; units are removed for good, whatever site they were scored at.
    """
    game = run.game(layer, "test", draw_images(run.test, images, trial=0))
    for name, order in read_orders(folder, layer, criteria):
        curve = removal_curve(game, order)
        for removed, (loss, accuracy) in enumerate(zip(curve.loss, curve.accuracy, strict=True)):
            row = {"layer": layer, "units": curve.units, "removed": removed, "loss": loss, "accuracy": accuracy}
            yield {**run.name, **name, **row}


def layer_table(run: Run, layer: str, images: int, scoring: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """The coalition table of a layer on validation images, and the facts of its manifest."""
    chosen = draw_images(run.validation, images, trial=0)
    game = run.game(layer, "train", chosen, **rules_of(scoring))
    table = oracle.coalition_table(game)
    facts = {
        **run.name,
        "layer": layer,
        "units": game.units,
        "images": images,
        **rules_of(scoring),
        "evaluations": game.evaluations,
        "oracle_sets": oracle.oracle_sets(table),
        "shapley_values": oracle.shapley_values(table).tolist(),
        **machine_facts(run.device),
    }
    return table, facts


def layer_overlaps(
    name: Mapping[str, Any], table: np.ndarray, folder: Path, criteria: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Rows that compare every criterion's order with the oracle sets, and the exact Shapley values' order too."""
    exact = (
        {"criterion": "exact Shapley", "aggregate": "mean", "trial": 0},
        np.argsort(oracle.shapley_values(table), kind="stable"),
    )
    for labels, order in [*read_orders(folder, name["layer"], criteria), exact]:
        for row in oracle.overlap(table, order.tolist()):
            yield {**name, **labels, **asdict(row)}


def chains(entry: Mapping[str, Any], low_data: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The low-data chains of a criterion: file of each, and its aggregate, ratio and trial."""
    for aggregate in entry["aggregates"]:
        for ratio in low_data["ratios"]:
            for trial in range(low_data["trials"]):
                yield (
                    f"{aggregate}/ratio{ratio}/trial{trial}.safetensors",
                    {"aggregate": aggregate, "ratio": ratio, "trial": trial},
                )


def write_chain(
    run: Run,
    layers: Sequence[str],
    path: Path,
    entry: Mapping[str, Any],
    chain: Mapping[str, Any],
    images: int,
    scoring: Mapping[str, Any],
) -> None:
    """Prune a network layer by layer with little data and write what is left, with the steps in its manifest.

    Args:
        run: the network.
        layers: the layers to prune, in the order they run.
        path: the safetensors file to write.
        entry: the criterion's entry in the configuration.
        chain: aggregate, ratio and trial.
        images: how many test images score.
        scoring: the configuration's ``scoring``: site, payoff and precision.
    """
    chosen = draw_images(run.test, images, chain["trial"])
    scoring_images, labels = (each.to(run.device) for each in tensors(run.image_set, "test", chosen))
    steps = []
    model = run.model
    for step in prune_sequentially(
        model,
        layers,
        scoring_images,
        labels,
        lambda game: score(game, entry["method"], seed=chain["trial"], **options_of(entry)),
        chain["ratio"],
        chain["aggregate"],
        **rules_of(scoring),
        examples=chosen,
        memory_mb=run.memory_mb,
    ):
        model = step.model
        cost = {"evaluations": step.scores.evaluations, "seconds": round(step.scores.seconds, 6)}
        steps.append({"layer": step.layer, "removed": step.removed, **cost})
    save(model, path, **run.name, **chain, steps=steps, images=chosen.tolist(), **machine_facts(run.device))


def evaluate_chain(run: Run, path: Path, chain: Mapping[str, Any], criterion: str) -> Iterator[dict[str, Any]]:
    """Rows of a low-data chain: the network as it was and after each step, on all test images that did not score."""
    manifest = read_json(path.with_suffix(".json"))
    images, labels = tensors(run.image_set, "test", rest(run.test, np.array(manifest["images"])))
    example = images[:2].to(run.device)
    model = run.model
    first = {"layer": "", "removed": []}
    for number, step in enumerate([first, *manifest["steps"]]):
        left: Any = ""
        if step["layer"]:
            model = remove_units(model, {step["layer"]: step["removed"]}, example)
            left = len(kept_units(model)[step["layer"]])
        loss, accuracy = evaluate(model, images, labels)
        yield {
            **run.name,
            "criterion": criterion,
            **chain,
            "step": number,
            "layer": step["layer"],
            "units_left": left,
            "loss": loss,
            "accuracy": accuracy,
            "parameters": count_parameters(model),
            "macs": count_macs(model, example),
        }


def machine_facts(device: str) -> dict[str, Any]:
    """What a result was made on: device, peak memory in MB so far, and the versions that decide its numbers."""
    if device == "cuda":
        name, peak = torch.cuda.get_device_name(), torch.cuda.max_memory_allocated() / 2**20
    else:
        name, peak = "cpu", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "shapprune": metadata.version("shapprune"),
    }
    return {"device": name, "peak_memory_mb": round(peak, 1), "versions": versions}


def _score_file(folder: Path, criterion: str, layer: str, trial: int) -> Path:
    return folder / criterion / layer / f"trial{trial}.npz"


def _builder(network: Mapping[str, Any], info: DataInfo) -> Callable[[], nn.Module]:
    """The function that builds a network of the configuration with fresh weights."""
    return lambda: build(network["architecture"], shape=info.shape, classes=info.classes, **network["options"])
