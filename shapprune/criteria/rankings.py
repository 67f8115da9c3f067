"""Rankings from the pruning literature, in structured form: one score for each unit. High = keep.

Those that look at weights (`fpgm`, `snip`, `grasp`, `synflow`) or at a BatchNorm see the network as it is: where units
are gone from a game (`LayerGame.without`) they count as if they were there.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from shapprune.core.errors import ShapPruneError
from shapprune.criteria.heuristics import by_unit
from shapprune.game.layer_game import LayerGame
from shapprune.game.payoffs import minus_loss
from shapprune.graph.operations import LAYERS
from shapprune.networks.modes import mode
from shapprune.networks.precision import at_precision
from shapprune.shapley.scores import scorer

_AT_ONCE = 2**22  # numbers that a decomposition or a matrix of distances takes at a time


@scorer("fisher")
def fisher(game: LayerGame) -> Tensor:
    """Half the square of gradient times activation, summed over positions first; values [N, n].

    Its mean over the examples is the second-order estimate of what the loss gains when the unit leaves, with the Fisher
    information in place of the Hessian and no first-order term. It costs 3 evaluations.

    Raises:
        ShapPruneError: the payoff has no gradient.

    Source: Theis et al. 2018, "Faster gaze prediction with dense networks and Fisher pruning".
    """
    return by_unit(game.activation_gradient() * game.activations).double().sum(2).square() / 2


@scorer("batchnorm-scale")
def batchnorm_scale(game: LayerGame) -> Tensor:
    """Absolute scale of each unit in the BatchNorm that follows the layer; values [1, n].

    In the paper the network is trained with an L1 penalty on these scales. Without one it is a weaker ranking.

    Raises:
        ShapPruneError: no BatchNorm follows the layer, or one without scales.

    Source: Liu et al. 2017, "Learning efficient convolutional networks through network slimming".
    """
    if game.norm is None or game.norm.weight is None:
        raise ShapPruneError(
            f"batchnorm-scale needs a BatchNorm with scales behind the layer, but none follows {game.layer!r}"
        )
    return game.norm.weight.detach().double().abs()[None]


@scorer("fpgm")
def fpgm(game: LayerGame) -> Tensor:
    """Sum of the Euclidean distances from a unit's incoming weights to those of all units; values [1, n].

    The unit of the lowest sum is nearest to the geometric median of the layer: the others stand for it best.

    Source: He et al. 2019, "Filter pruning via geometric median for deep convolutional neural networks acceleration".
    """
    filters = game.module.get_parameter("weight").detach().flatten(1).double()
    rows = max(1, _AT_ONCE // len(filters))
    return torch.cat([torch.cdist(some, filters).sum(1) for some in filters.split(rows)])[None]


@scorer("hrank")
def hrank(game: LayerGame) -> Tensor:
    """Matrix rank of each unit's feature map at the site; values [N, n].

    Of a map of more than two dimensions it is the rank of the first against all others. A unit of a linear layer or of
    a one-dimensional convolution has no matrix: its rank is 1 where it is not zero, 0 elsewhere. Ranks are counted with
    the default tolerance of `torch.linalg.matrix_rank`.

    Source: Lin et al. 2020, "HRank: filter pruning using high-rank feature map".
    """
    values = game.activations
    if values.dim() < 4:
        return (by_unit(values) != 0).any(2).double()
    maps = values.flatten(3)
    images = max(1, _AT_ONCE // maps[0].numel())
    return torch.cat([torch.linalg.matrix_rank(some) for some in maps.split(images)]).double()


@scorer("snip")
def snip(game: LayerGame) -> Tensor:
    """Absolute value of weight times gradient, summed over each unit's incoming weights; values [1, n].

    The gradient is that of the mean payoff of the scoring images. Made for networks before training; the paper removes
    single weights. It costs 3 evaluations, of the whole network.

    Raises:
        ShapPruneError: the payoff has no gradient.

    Source: Lee et al. 2019, "SNIP: single-shot network pruning based on connection sensitivity".
    """
    game.require_gradient()
    name, weight = next(iter(_weights(game, own=True).items()))

    def gradient(images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        outputs = functional_call(game.model, {name: weight}, (images,))
        return torch.autograd.grad(game.payoff(outputs, labels).sum() / len(game), weight)

    (slope,) = game.sum_over_images(gradient, passes=3)
    return _by_incoming((weight * slope).abs())


@scorer("grasp")
def grasp(game: LayerGame, temperature: float = 200.0) -> Tensor:
    """Weight times Hessian times gradient, summed over each unit's incoming weights; values [1, n].

    To first order it is what half the squared norm of the gradient loses when these weights leave, so the units without
    which the gradient flows best score lowest. Gradient and Hessian are those of the mean cross-entropy of the scoring
    images in the weights of all convolutions and linear layers. Made for networks before training; the paper removes
    single weights. The authors' code runs the network in training mode, here it is in eval mode as everywhere.

    It costs 12 evaluations, of the whole network: 3 for the gradient, and 9 at most for that of its square.

    Args:
        game: the layer.
        temperature: what outputs are divided by before the cross-entropy, so that a network tells classes apart less.

    Raises:
        ShapPruneError: another payoff than ``loss``, or a temperature that is not above 0.

    Source: Wang et al. 2020, "Picking winning tickets before training by preserving gradient flow"; with its sign
    turned, so that high = keep.
    """
    if game.payoff is not minus_loss:
        raise ShapPruneError("grasp is defined by the cross-entropy alone, so it takes payoff 'loss'")
    if not temperature > 0:
        raise ShapPruneError(f"temperature = {temperature}, a number above 0 is needed")
    weights = _weights(game)
    own = next(iter(_weights(game, own=True)))

    def gradient(images: Tensor, labels: Tensor, again: bool = False) -> tuple[Tensor, ...]:
        outputs = functional_call(game.model, weights, (images,))
        loss = F.cross_entropy(outputs / temperature, labels, reduction="sum") / len(game)
        # A weight that the network does not use has a gradient of zeros.
        return torch.autograd.grad(loss, list(weights.values()), create_graph=again, materialize_grads=True)

    whole = [each.to(weights[own].dtype) for each in game.sum_over_images(gradient, passes=3)]

    def product(images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        # The Hessian is a sum over images, so its product with the gradient of all images is one too.
        some = gradient(images, labels, again=True)
        along = torch.stack([(one * each).sum() for one, each in zip(whole, some, strict=True)]).sum()
        return torch.autograd.grad(along, weights[own])

    (curved,) = game.sum_over_images(product, passes=9)
    return _by_incoming(weights[own] * curved)


@scorer("synflow")
def synflow(game: LayerGame) -> Tensor:
    """Flow of absolute values through each unit's incoming weights; values [1, n].

    It is |weight times gradient| of the sum R of the outputs, for one image of ones, when all parameters and buffers
    are replaced by their absolute values. Nothing of the images is seen but their shape. It costs 3 evaluations of one
    image, and is computed in float64, since R may leave the range of float32 in a deep network.

    The paper prunes all layers together in 100 rounds and measures anew after each, so that none is emptied. Here units
    are compared within a layer, and there is one round: as long as no ReLU cuts the flow it is a sum over the units of
    a layer, and those that leave change no score of the others. Made for networks before training: the running mean of
    a trained BatchNorm is subtracted from the flow, and a ReLU may end it there.

    Source: Tanaka et al. 2020, "Pruning neural networks without any data by iteratively conserving synaptic flow",
    Algorithm 1.
    """
    name = next(iter(_weights(game, own=True)))
    state = {
        key: value.detach().double().abs()
        for key, value in [*game.model.named_parameters(), *game.model.named_buffers()]
        if value.is_floating_point()
    }
    weight = state[name].requires_grad_(True)
    ones = torch.ones_like(game.images[:1], dtype=torch.float64)
    with mode(game.model, training=False), at_precision("fp32", game.device), torch.enable_grad():
        flow = functional_call(game.model, state, (ones,)).sum()
        (slope,) = torch.autograd.grad(flow, weight)
    game.count(3 / len(game))
    return _by_incoming((weight * slope).abs())


def _weights(game: LayerGame, own: bool = False) -> dict[str, Tensor]:
    """The weights of all convolutions and linear layers, or of the game's own, by name.

    They share memory with the network's, and gradients in them leave nothing behind in the network.
    """
    modules = [game.module] if own else [each for each in game.model.modules() if isinstance(each, LAYERS)]
    wanted = {id(each.get_parameter("weight")) for each in modules}  # one that is shared has the name of its first use
    named = game.model.named_parameters()
    return {name: each.detach().requires_grad_(True) for name, each in named if id(each) in wanted}


def _by_incoming(values: Tensor) -> Tensor:
    """The sums of a weight's numbers over all that comes into each unit, float64 [1, n]."""
    return values.detach().double().flatten(1).sum(1)[None]
