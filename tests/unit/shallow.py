"""Architectures of torchvision with fewer blocks and units: all that a family does, in a tenth of the time.

Those of full size are in docs/torchvision.md (`python -m benchmarks.torchvision_networks`).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from shapprune.data.vision import torchvision

models = torchvision.models


def _densenet(classes: int) -> nn.Module:
    return models.DenseNet(8, (2, 3, 2, 2), 8, bn_size=8, num_classes=classes)


def _efficientnet(classes: int) -> nn.Module:
    block = models.efficientnet.MBConvConfig
    blocks = [
        block(1, 3, 1, 32, 16, 1),
        block(6, 3, 2, 16, 24, 2),
        block(6, 5, 2, 24, 40, 2),
        block(6, 3, 2, 40, 80, 1),
    ]
    return models.EfficientNet(blocks, 0.2, num_classes=classes)


def _mobilenet_v2(classes: int) -> nn.Module:
    blocks = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2], [6, 64, 2, 1]]
    return models.MobileNetV2(num_classes=classes, inverted_residual_setting=blocks)


def _mobilenet_v3(classes: int) -> nn.Module:
    def block(*numbers: object) -> object:
        return models.mobilenetv3.InvertedResidualConfig(*numbers, 1, 1)

    blocks = [
        block(16, 3, 16, 16, True, "RE", 2),
        block(16, 3, 72, 24, False, "RE", 2),
        block(24, 3, 88, 24, False, "RE", 1),
        block(24, 5, 96, 40, True, "HS", 2),
        block(40, 5, 240, 40, True, "HS", 1),
    ]
    return models.MobileNetV3(blocks, 128, num_classes=classes)


def _resnet50(classes: int) -> nn.Module:
    return models.ResNet(models.resnet.Bottleneck, [2, 1, 2, 1], num_classes=classes, width_per_group=16)


def _resnet18(classes: int) -> nn.Module:
    return models.ResNet(models.resnet.BasicBlock, [2, 1, 2, 1], num_classes=classes)


def _vgg11_bn(classes: int) -> nn.Module:
    features = models.vgg.make_layers([16, "M", 24, "M", 32, 32, "M", 32, "M"], batch_norm=True)
    model = models.VGG(features, num_classes=classes, init_weights=False)
    model.avgpool = nn.AdaptiveAvgPool2d(2)
    model.classifier = nn.Sequential(
        *(nn.Linear(32 * 4, 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, 10), nn.ReLU(), nn.Dropout()),
        nn.Linear(10, classes),
    )
    return model


SHALLOW: dict[str, Callable[[int], nn.Module]] = {
    "densenet121": _densenet,
    "efficientnet_b0": _efficientnet,
    "mobilenet_v2": _mobilenet_v2,
    "mobilenet_v3_small": _mobilenet_v3,
    "resnet18": _resnet18,
    "resnet50": _resnet50,
    "vgg11_bn": _vgg11_bn,
}


def shallow(name: str, classes: int = 10) -> nn.Module:
    """The shallow one of a family, with random weights; of a family that has none, the one of full size."""
    if name in SHALLOW:
        return SHALLOW[name](classes)
    return getattr(models, name)(weights=None, num_classes=classes)
