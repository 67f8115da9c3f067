"""Rankings from the pruning literature, in structured form: one score for each unit. High = keep.

Those that read weights (`fpgm`, `snip`, `grasp`, `synflow`) or a BatchNorm see the network with all its units, also in
a game from which units were removed (`LayerGame.without`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from shapprune.core.errors import ShapPruneError
from shapprune.criteria.heuristics import by_unit, counted_values
from shapprune.game.layer_game import LayerGame
from shapprune.game.payoffs import minus_loss
from shapprune.graph.operations import has_own_weights, is_layer
from shapprune.graph.parts import Part
from shapprune.networks.fewer_heads import is_attention
from shapprune.networks.losses import cross_entropies, logits_of
from shapprune.networks.modes import mode
from shapprune.networks.precision import at_precision
from shapprune.parameters.choice import first_names
from shapprune.shapley.criterion import criterion

_AT_ONCE = 2**22  # numbers in a decomposition or a matrix of distances at a time


@criterion("fisher", gradient=True)
def fisher(game: LayerGame) -> Tensor:
    """Half the square of gradient times activation, summed over positions first (Theis et al. 2018).

    Its mean over the examples is the second-order estimate of the rise of the loss when the unit leaves, with the
    Fisher information instead of the Hessian and without the first-order term. Values are [N, n]. The cost is 3
    evaluations.

    Raises:
        ShapPruneError: the payoff has no gradient.

    Source: Theis et al. 2018, "Faster gaze prediction with dense networks and Fisher pruning".
    """
    return by_unit(game.activation_gradient() * game.activations).double().sum(2).square() / 2


@criterion("batchnorm-scale", batchnorm=True)
def batchnorm_scale(game: LayerGame) -> Tensor:
    """Absolute scale of the unit in the BatchNorm that follows the layer (Liu et al. 2017).

    In the paper the network is trained with an L1 penalty on these scales. Without it the ranking is weaker. Values are
    [1, n].

    Raises:
        ShapPruneError: no BatchNorm follows the layer, or one without scales.

    Source: Liu et al. 2017, "Learning efficient convolutional networks through network slimming".
    """
    if game.norm is None or game.norm.weight is None:
        raise ShapPruneError(
            f"batchnorm-scale needs a BatchNorm with scales behind the layer, but none follows {game.layer!r}"
        )
    return game.norm.weight.detach().double().abs()[None]


@criterion("fpgm")
def fpgm(game: LayerGame) -> Tensor:
    """Sum of the distances from the unit's incoming weights to those of all others (He et al. 2019).

    Distances are Euclidean. The unit with the lowest sum is nearest to the geometric median of the layer, so the others
    replace it best. Values are [1, n].

    Source: He et al. 2019, "Filter pruning via geometric median for deep convolutional neural networks acceleration".
    """
    filters = game.incoming
    rows = max(1, _AT_ONCE // len(filters))
    return torch.cat([torch.cdist(some, filters).sum(1) for some in filters.split(rows)])[None]


@criterion("hrank")
def hrank(game: LayerGame) -> Tensor:
    """Matrix rank of the unit's feature map (Lin et al. 2020).

    The map is that at the site. A map of more than two dimensions is a matrix of its first dimension against all
    others. A unit of a linear layer or of a one-dimensional convolution has no matrix: its rank is 1 if it is not zero,
    else 0. Padding counts as zero. Ranks have the default tolerance of `torch.linalg.matrix_rank`. Values are [N, n].

    Source: Lin et al. 2020, "HRank: filter pruning using high-rank feature map".
    """
    values = game.activations
    there = counted_values(game, values)
    if there is not None:
        values = torch.where(there, values, 0)  # rows of zeros have no rank
    if values.dim() < 4:
        return (by_unit(values) != 0).any(2).double()
    maps = values.flatten(3)
    images = max(1, _AT_ONCE // maps[0].numel())
    return torch.cat([torch.linalg.matrix_rank(some) for some in maps.split(images)]).double()


@criterion("snip", gradient=True)
def snip(game: LayerGame) -> Tensor:
    """Absolute value of weight times gradient, summed over the unit's incoming weights (Lee et al. 2019).

    The gradient is that of the mean payoff of the scoring images. The paper removes single weights of networks before
    training. Values are [1, n]. The cost is 3 evaluations, of the whole network.

    Raises:
        ShapPruneError: the payoff has no gradient.

    Source: Lee et al. 2019, "SNIP: single-shot network pruning based on connection sensitivity".
    """
    return _by_incoming(game, weights_times_gradients(game, _own(game)))


@criterion("grasp", limits={"temperature": {"above": 0}}, gradient=True, payoffs=("loss",))
def grasp(game: LayerGame, temperature: float = 200.0) -> Tensor:
    """Weight times Hessian times gradient, summed over the unit's incoming weights (Wang et al. 2020).

    To first order it is what half the squared norm of the gradient loses when these weights leave, so the units without
    which the gradient flows best score lowest. Gradient and Hessian are those of the mean cross-entropy of the scoring
    images in the weights of all convolutions and linear layers. The paper removes single weights of networks before
    training. The authors' code runs the network in training mode, here it runs in eval mode as everywhere. Values are
    [1, n].

    The cost is 12 evaluations, of the whole network: 3 for the gradient, and 9 at most for that of its square.

    Args:
        game: the layer.
        temperature: what outputs are divided by before the cross-entropy. It makes the outputs less certain.

    Raises:
        ShapPruneError: another payoff than ``loss``, or a temperature that is not above 0.

    Source: Wang et al. 2020, "Picking winning tickets before training by preserving gradient flow", with the opposite
    sign, so that high = keep.
    """
    if game.payoff is not minus_loss:
        raise ShapPruneError("grasp is defined by the cross-entropy alone, so it takes payoff 'loss'")
    weights, own = _weights(game), _own(game)

    def gradient(images: Tensor, labels: Tensor, again: bool = False) -> tuple[Tensor, ...]:
        outputs = logits_of(functional_call(game.model, weights, (images,)))
        loss = cross_entropies(outputs / temperature, labels).sum() / len(game)
        # The gradient of a weight that the network does not use is zero.
        return torch.autograd.grad(loss, list(weights.values()), create_graph=again, materialize_grads=True)

    found = game.sum_over_images(gradient, passes=3)
    whole = [each.to(weight.dtype) for each, weight in zip(found, weights.values(), strict=True)]

    def product(images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        # The Hessian is a sum over images, and so is its product with the gradient of all images.
        some = gradient(images, labels, again=True)
        along = torch.stack([(one * each).sum() for one, each in zip(whole, some, strict=True)]).sum()
        return torch.autograd.grad(along, [weights[name] for name in own])

    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        curved = game.sum_over_images(product, passes=9)
    return _by_incoming(game, {name: weights[name] * each for name, each in zip(own, curved, strict=True)})


@criterion("synflow")
def synflow(game: LayerGame) -> Tensor:
    """Flow of absolute values through the unit's incoming weights, without images (Tanaka et al. 2020).

    It is |weight times gradient| of the sum R of the outputs for one image of ones, with all parameters and buffers
    replaced by their absolute values. Only the shape of the images is used. It is computed in float64, since R may
    leave the range of float32 in a deep network. Values are [1, n]. The cost is 3 evaluations of one image.

    The paper prunes all layers together in 100 rounds and computes the flow again after each, so that no layer is
    emptied. Here units are compared within a layer, in one round: unless a ReLU cuts the flow, it is a sum over the
    units of a layer, so units that leave change no score of the others. The paper prunes networks before training. In a
    trained network the running means of BatchNorms are subtracted from the flow, and a ReLU may then end it.

    Raises:
        ShapPruneError: the network takes tokens, of which there is no image of ones.

    Source: Tanaka et al. 2020, "Pruning neural networks without any data by iteratively conserving synaptic flow",
    Algorithm 1.
    """
    if not game.images.is_floating_point():
        raise ShapPruneError("synflow sends an image of ones through the network, but this one takes tokens")
    own = _own(game)
    state = {
        key: value.detach().double().abs()
        for key, value in [*game.model.named_parameters(), *game.model.named_buffers()]
        if value.is_floating_point()
    }
    weights = [state[name].requires_grad_(True) for name in own]
    ones = torch.ones_like(game.images[:1], dtype=torch.float64)
    with mode(game.model, training=False), at_precision("fp32", game.device), torch.enable_grad():
        flow = logits_of(functional_call(game.model, state, (ones,))).sum()
        slopes = torch.autograd.grad(flow, weights)
    game.count(3 / len(game))
    return _by_incoming(game, {name: (state[name] * each).abs() for name, each in zip(own, slopes, strict=True)})


def weights_times_gradients(game: LayerGame, names: Collection[str], order: int = 1) -> dict[str, Tensor]:
    """The absolute value of some weights times the gradient of the mean payoff in them, by name.

    Args:
        game: the layer.
        names: of the weights; of one that is shared, the name of its first use.
        order: 2 for half the square of weight times the gradient of a single payoff, on average, added before the
            absolute value is taken.

    Raises:
        ShapPruneError: the payoff has no gradient.
    """
    slopes, squares = _gradients(game, names, squared=order == 2)
    products = {}
    for name, slope in slopes.items():
        weight = game.model.get_parameter(name).detach()
        products[name] = weight * slope
        if squares:
            products[name] += weight.square() * squares[name] / 2
    return {name: each.abs() for name, each in products.items()}


def mean_gradients(game: LayerGame, names: Collection[str]) -> dict[str, Tensor]:
    """The gradient of the mean payoff in some weights, float64, by name; arguments as for `weights_times_gradients`.

    Raises:
        ShapPruneError: the payoff has no gradient.
    """
    return _gradients(game, names, squared=False)[0]


def _gradients(game: LayerGame, names: Collection[str], squared: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The gradient of the mean payoff in some weights, and the mean square of those of single payoffs if asked for."""
    game.require_gradient()
    weights = _weights(game, names)

    def slopes_of(images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        outputs = functional_call(game.model, weights, (images,))
        payoff = game.payoff(outputs, labels).sum()
        return torch.autograd.grad(payoff, list(weights.values()), materialize_grads=True)

    def both(images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        sums = [torch.zeros_like(each.detach()) for each in (*weights.values(), *weights.values())]
        for one in zip(images.split(1), labels.split(1), strict=True):
            slopes = slopes_of(*one)
            for total, each in zip(sums, (*slopes, *(slope.square() for slope in slopes)), strict=True):
                total += each
        return tuple(sums)

    found = [each / len(game) for each in game.sum_over_images(both if squared else slopes_of, passes=3)]
    slopes, squares = found[: len(weights)], found[len(weights) :]
    return dict(zip(weights, slopes, strict=True)), dict(zip(weights, squares, strict=True)) if squared else {}


def _weights(game: LayerGame, own: Collection[str] | None = None) -> dict[str, Tensor]:
    """The weights of all convolutions, linear layers and attentions, or those of the game's own layer, by name.

    They share memory with the network's weights, but their gradients are not stored in the network. A shared weight has
    the name of its first use.
    """
    named = dict(game.model.named_parameters())
    if own is None:
        layers = [each for each in game.model.modules() if is_layer(each) and has_own_weights(each)]
        joint = [each for each in game.model.modules() if is_attention(each) and each.in_proj_weight is not None]
        wanted = {id(each.weight) for each in layers} | {id(each.in_proj_weight) for each in joint}
        own = {name for name, each in named.items() if id(each) in wanted}
    return {name: each.detach().requires_grad_(True) for name, each in named.items() if name in own}


def _own(game: LayerGame) -> dict[str, Part]:
    """The weights that make the units of the game, by the name of their first use."""
    first = first_names(game.model)
    return {first[part.name]: part for part in game.weights}


def _by_incoming(game: LayerGame, values: Mapping[str, Tensor]) -> Tensor:
    """Sum numbers of the weights that make the units over those of each unit, float64 [1, n]."""
    sums = [part.of_units(values[name].detach()).double().sum(1) for name, part in _own(game).items()]
    return torch.stack(sums).sum(0)[None]
