"""VGG-16 with BatchNorm for images of CIFAR's size."""

from __future__ import annotations

from torch import Tensor, nn

from shapprune.data.vision import torchvision
from shapprune.networks.tables import VGG16_CHANNELS


class VGG16(nn.Module):
    """The 13 convolutions of VGG-16 and two hidden dense layers of 512, from [N, 3, 32, 32] to outputs [N, classes].

    Source: the CIFAR-10 network of Ancona et al. 2020 (https://arxiv.org/abs/2006.01795): torchvision's ``vgg16_bn``
    features with a small classifier; 15,253,578 parameters, 5,248 units in 15 prunable layers.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels = [each for row in VGG16_CHANNELS for each in (*row, "M")]  # M is a pooling
        self.features = torchvision.models.vgg.make_layers(channels, batch_norm=True)
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(512, 512),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(512, 512),
            nn.ReLU(),
            nn.Linear(512, classes),
        )
        for module in self.features:
            if isinstance(module, nn.Conv2d):  # as torchvision initialises its VGGs
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs before the softmax, [N, classes]."""
        return self.classifier(self.features(images).flatten(1))
