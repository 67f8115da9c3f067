"""Probes: what a linear classifier can tell from the activations of some units of a network."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.batches import in_batches
from shapprune.networks.modes import mode

Over = Literal["mean", "last"]
OVERS = ("mean", "last")
_BATCH = 64
_INVERSE = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse strengths of the regularisation that are tried
_STEPS = 2000  # of the optimizer; standardised features need some hundred


def unit_activations(
    model: nn.Module, layers: Iterable[str], inputs: Tensor, over: Over = "mean", batch: int = _BATCH
) -> dict[str, Tensor]:
    """The activations of the units of layers, a few numbers a unit and example, all found in one pass.

    The network runs in eval mode and is handed back as it came.

    Args:
        model: the network.
        layers: names of `shapprune.prunable_layers`; units are channels, neurons or heads.
        inputs: images or tokens, [N, ...].
        over: ``mean`` over the positions of an image or sequence, or those of the ``last`` token.
        batch: examples that run together, at most.

    Returns:
        Layer -> float [N, units, numbers]: one number of a channel or neuron, those that a head puts out at a position.

    Raises:
        ShapPruneError: another place, no inputs, a layer that has no units here, or without tokens for ``last``.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.parameters.probe import unit_activations
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
        >>> with torch.no_grad():
        ...     _ = model[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        >>> unit_activations(model, ["0"], torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))["0"]
        tensor([[[3.], [0.]]])
    """
    if over not in OVERS:
        raise unknown("place of activations", over, OVERS)
    if len(inputs) == 0:
        raise ShapPruneError("activations are asked for of 0 examples, 1 or more are needed")
    device = next((each.device for each in model.parameters()), inputs.device)
    graph = UnitGraph(model, inputs[:2].to(device))
    sites = _Sites(graph, layers, over)
    found: dict[str, list[Tensor]] = {name: [] for name in sites.layers}
    with torch.no_grad(), mode(graph.traced, training=False):
        for some in in_batches(inputs, min(batch, graph.at_once(batch))):
            for name, values in sites.of(some.to(device)).items():
                found[name].append(values)
    return {name: torch.cat(each) for name, each in found.items()}


class _Sites(fx.Interpreter):
    """Runs a network and keeps the values at the sites of layers."""

    def __init__(self, graph: UnitGraph, layers: Iterable[str], over: Over):
        super().__init__(graph.traced)
        self._graph, self._over = graph, over
        self.layers = {name: graph.site(name, "activation") for name in layers}
        if over == "last" and (
            wrong := [name for name in self.layers if name not in graph.attentions and not graph.on_tokens(name)]
        ):
            raise ShapPruneError(f"layer {wrong[0]!r} is on no tokens, so there is no last one; take the mean")
        self._kept: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if n in self.layers.values():
            assert isinstance(result, Tensor)
            self._kept[n] = result
        return result

    def of(self, inputs: Tensor) -> dict[str, Tensor]:
        """Layer -> what it puts out for a batch, [N, units, numbers]."""
        self._kept.clear()
        self.run(inputs)
        return {name: self._pooled(name, self._kept[node]) for name, node in self.layers.items()}

    def _pooled(self, name: str, values: Tensor) -> Tensor:
        values = self._graph.layout(name).split(values)
        if name in self._graph.attentions:  # [N, units, ..., tokens, numbers]
            pooled = values.mean(-2) if self._over == "mean" else values[..., -1, :]
        elif values.dim() == 2:
            pooled = values
        else:
            pooled = values.flatten(2).mean(2) if self._over == "mean" else values[..., -1]
        return pooled.reshape(*pooled.shape[:2], -1).float()


@dataclass(frozen=True)
class Probed:
    """A probe.

    Attributes:
        features: how many numbers it sees.
        inverse: of the strength of its regularisation, as scikit-learn's ``C``.
        train_accuracy: on what it was fitted to.
        accuracy: on unseen examples.
    """

    features: int
    inverse: float
    train_accuracy: float
    accuracy: float


def probe(
    features: Tensor, labels: Tensor, test_features: Tensor, test_labels: Tensor, *, folds: int = 3, seed: int = 0
) -> Probed:
    """Fit a logistic regression to features, and measure it on others.

    Features are standardised. The strength of the l2 regularisation is the one with the highest accuracy in
    cross-validation, of equal ones the strongest.

    Args:
        features: [N, ...], numbers of an example side by side.
        labels: int64 [N].
        test_features: [M, ...].
        test_labels: int64 [M].
        folds: of the cross-validation, at least 2.
        seed: of the draw of the folds.

    Raises:
        ShapPruneError: scikit-learn is not installed, features that are not finite or not one label for each, fewer
            examples than folds, or a fold whose rest has a single class.

    Examples:
        >>> import torch
        >>> from shapprune.parameters.probe import probe
        >>> labels = torch.arange(40) % 2
        >>> features = torch.stack([labels.float(), torch.ones(40)], 1)
        >>> probe(features, labels, features, labels).accuracy
        1.0

    Source: Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes"; the probes of Chu
    et al. 2025, Appendix E, have a hidden layer.
    """
    known, truth = _checked(features, labels)
    unseen, expected = _checked(test_features, test_labels)
    folding = _part("model_selection").KFold(folds, shuffle=True, random_state=seed)
    if folds < 2 or len(truth) < folds:
        raise ShapPruneError(f"{len(truth)} examples cannot be cross-validated in {folds} folds")
    if any(len(np.unique(truth[rest])) < 2 for rest, _ in folding.split(known)):
        raise ShapPruneError(f"a probe needs two classes, but {folds} folds of {len(truth)} examples leave only one")
    steps = _part("preprocessing").StandardScaler(), _part("linear_model").LogisticRegression(max_iter=_STEPS)
    search = _part("model_selection").GridSearchCV(
        _part("pipeline").make_pipeline(*steps), {"logisticregression__C": _INVERSE}, cv=folding
    )
    search.fit(known, truth)
    return Probed(
        known.shape[1],
        float(search.best_params_["logisticregression__C"]),
        float(search.score(known, truth)),
        float(search.score(unseen, expected)),
    )


def _checked(features: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    found = features.reshape(len(features), -1).cpu().double().numpy()
    if labels.shape != (len(found),) or not np.isfinite(found).all():
        raise ShapPruneError(
            f"a probe takes finite features and a label for each of {len(found)} examples, not {list(labels.shape)}"
        )
    return found, labels.cpu().numpy()


def _part(name: str) -> Any:
    try:
        return importlib.import_module(f"sklearn.{name}")
    except ModuleNotFoundError as error:
        raise ShapPruneError("probes need the package scikit-learn, which is not installed") from error
