"""Trained networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.core.games import PARTS
from shapprune.data.prepared import ImageSet, arrays_md5, splits, tensors
from shapprune.gpu.device import choose_device, machine_facts
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.graph.residual import find_parts
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.builders import builder_of
from shapprune.networks.evaluation import evaluate
from shapprune.networks.randomness import seeded
from shapprune.networks.recipe import Recipe
from shapprune.networks.storage import fetch_weights, save
from shapprune.networks.training import fit
from shapprune.networks.weights import load_weights
from shapprune.workflow.store.work import Work, columns


def keep_network(image_set: ImageSet, work: Work, device: str) -> None:
    """Train a network by its recipe or load its weights, and keep it with what is known of it.

    A training that was cut off goes on from the file ``work.unfinished``.

    Args:
        image_set: the data.
        work: the network as its one task.
        device: ``auto``, ``cpu`` or ``cuda``.
    """
    ((label, task),) = work.missing.items()
    names, parts = task["names"], task["parts"]
    model, facts = _make_network(
        names["network"], image_set, parts["validation"], parts["seed"], device, work.unfinished
    )
    save(model, work.path(label, ".safetensors"), net=names["net"], **facts)
    work.keep_files(label, ".safetensors")
    if work.unfinished is not None:
        work.unfinished.unlink(missing_ok=True)


def _make_network(
    network: Mapping[str, Any], image_set: ImageSet, validation: int, seed: int, device: str, checkpoint: Path | None
) -> tuple[nn.Module, dict[str, Any]]:
    """Train a network by its recipe or load its weights, and measure it.

    Args:
        network: its settings in the configuration.
        image_set: its data.
        validation: how many training images are held back.
        seed: of the initial weights and the training.
        device: ``auto``, ``cpu`` or ``cuda``.
        checkpoint: file from which a training that was cut off goes on.

    Returns:
        The network, and the facts of its manifest; ``columns`` among them tell of each epoch; loaded weights have none.
    """
    device = choose_device(device)
    training, held_back = splits(len(image_set.train_labels), validation)
    held = tensors(image_set, "train", held_back)
    make = builder_of(network, image_set.info)
    example = tensors(image_set, "train", training[:2])[0]
    history: list[dict[str, float]] = []
    if "train" in network:
        with seeded(seed):
            model = make()
        _check_layers(model, network, example)
        recipe = Recipe(**network["train"])
        train = tensors(image_set, "train", training)
        history = fit(model, *train, *held, recipe, seed=seed, device=device, checkpoint=checkpoint)
    else:
        model = make()
        _check_layers(model, network, example)
        weights = network["weights"]
        path = weights if isinstance(weights, str) else fetch_weights(**weights, folder="data/raw/weights")
        model = load_weights(model, path).to(device)
    model.eval()
    test_images, test_labels = tensors(image_set, "test")
    validation_loss, validation_accuracy = evaluate(model, *held)
    loss, accuracy = evaluate(model, test_images, test_labels)
    facts = {
        "seed": seed,
        "network": dict(network),
        "data": asdict(image_set.info) | {"md5": arrays_md5(image_set)},
        "columns": columns(history),
        "parameters": count_parameters(model),
        "macs": count_macs(model, test_images[:1].to(device)),
        "validation_loss": validation_loss,
        "validation_accuracy": validation_accuracy,
        "test_loss": loss,
        "test_accuracy": accuracy,
        **machine_facts(device),
    }
    return model, facts


def _check_layers(model: nn.Module, network: Mapping[str, Any], example: Tensor) -> None:
    """Raise unless a network of one's own has the layers that the configuration lists, before anything long.

    Branches and blocks of the whole network are counted, too, where it lists them.
    """
    layers = network.get("layers")
    if not isinstance(layers, Mapping):  # those of a known architecture were checked with the configuration
        return
    graph = UnitGraph(model, example)
    for layer, units in layers.items():
        if layer in graph.layers and layer in PARTS:
            raise ShapPruneError(
                f"a layer of {network['architecture']} is called {layer!r}, but 'layers' means the {layer} of the whole"
                " network by that; give the module another name"
            )
        if layer in PARTS:
            found, what = len(find_parts(graph, layer)), f"{layer} of {network['architecture']} are {{}}"
        else:
            graph.start(layer)
            found, what = graph.units_of(layer), f"layer {layer!r} of {network['architecture']} has {{}} units"
        if found != units:
            raise ShapPruneError(
                f"{what.format(found)}, but 'layers' says {units}; python -m shapprune layers lists them"
            )
