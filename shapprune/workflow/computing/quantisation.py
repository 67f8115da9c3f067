"""Networks with weights of few bits."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any

from torch import Tensor

from shapprune.core.progress import track
from shapprune.data.prepared import draw_images, tensors
from shapprune.gpu.device import machine_facts
from shapprune.parameters.hessians import input_hessians
from shapprune.parameters.quantisation import QuantisedNetwork, Scheme, choose_layers, quantise, weight_of
from shapprune.parameters.quantised_files import save_quantised
from shapprune.parameters.quantisers import proxy_loss
from shapprune.workflow.computing.comparison import Comparison
from shapprune.workflow.computing.run import Run
from shapprune.workflow.store.work import Work


def keep_quantised(run: Run, work: Work) -> None:
    """Quantise a network by each method that is missing, measure what is left on test images, and keep it.

    A trial is a draw of the calibration images from the training images that are not held back. The methods of a trial
    share the Hessians of the intact network; the time that these take counts for each of them.

    Args:
        run: the network.
        work: has the tasks, all with one number of test images.
    """
    comparison: Comparison | None = None
    for trial in dict.fromkeys(task["parts"]["trial"] for task in work.missing.values()):
        calibration: _Calibration | None = None
        labels = [label for label, task in work.missing.items() if task["parts"]["trial"] == trial]
        for label in track(labels, f"trial {trial}"):
            names, parts = work.tasks[label]["names"], work.tasks[label]["parts"]
            calibration = calibration or _Calibration(run, parts["images"], trial)
            comparison = comparison or Comparison(run, run.test_places(parts["test_images"], trial=0))
            small, seconds = calibration.quantise(_scheme(parts))
            facts = {
                **names,
                "network": dict(run.network),
                **calibration.facts(small),
                **comparison.measure(small.model),
                "seconds": round(seconds, 6),
                "calibration": calibration.chosen.tolist(),
                **machine_facts(run.device),
            }
            save_quantised(small, work.path(label, ".safetensors"), **facts)
            work.keep_files(label, ".safetensors")


def _scheme(parts: dict[str, Any]) -> Scheme:
    beta = {} if parts["beta"] is None else {"beta": parts["beta"]}
    return Scheme(**{name: parts[name] for name in ("method", "bits", "damping", "in_turn")}, **beta)


class _Calibration:
    """The calibration images of a trial, and the Hessians of the intact network on them.

    Attributes:
        chosen: places of the images in the training part.
    """

    def __init__(self, run: Run, images: int, trial: int):
        self._model, self.chosen = run.model, draw_images(run.training, images, trial)
        self._images = tensors(run.image_set, "train", self.chosen)[0].to(run.device)

    @cached_property
    def _hessians(self) -> tuple[dict[str, Tensor], float]:
        began = time.perf_counter()
        found = input_hessians(self._model, self._images, choose_layers(self._model)[0])
        return found, time.perf_counter() - began

    def quantise(self, scheme: Scheme) -> tuple[QuantisedNetwork, float]:
        """The network quantised, and the seconds that it took with its calibration."""
        shared, before = (None, 0.0) if scheme.in_turn or scheme.method == "round" else self._hessians
        began = time.perf_counter()
        small = quantise(self._model, self._images, scheme, hessians=shared)
        return small, before + time.perf_counter() - began

    def facts(self, small: QuantisedNetwork) -> dict[str, Any]:
        """What is known of a quantised network before any test image is looked at."""
        hessians, _ = self._hessians
        losses = {
            name: proxy_loss(self._model.get_parameter(weight_of(name)), small.weights[weight_of(name)], hessian)
            for name, hessian in hessians.items()
        }
        return {
            "bytes": small.bytes,
            "intact_bytes": small.bytes_before,
            "proxy_loss": sum(losses.values()),
            "proxy_losses": losses,
            "damping": max(each.damping for each in small.weights.values()),
            "whole": dict(small.whole),
        }
