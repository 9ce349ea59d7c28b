"""ImageNet's ResNets (He et al. 2016), as torchvision builds them, with the other backbones' interface."""

from __future__ import annotations

from torch import Tensor

from .resnet import Backbone

__all__ = ["TorchvisionResNet"]


class TorchvisionResNet(Backbone):
    """A torchvision ResNet under its own name and parameter names (prefix `net.`), freshly initialised.

    For images of about 224 x 224 pixels; smaller ones pass, but its first layers divide their side by 4.
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, *, name: str) -> None:
        import torchvision

        net = getattr(torchvision.models, name)(weights=None, num_classes=num_classes)
        super().__init__(in_channels=in_channels, feature_dim=net.fc.in_features)
        if in_channels != 3:
            net.conv1 = type(net.conv1)(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.net = net

    def feature_maps(self, x: Tensor) -> Tensor:
        net = self.net
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        return net.layer4(net.layer3(net.layer2(net.layer1(x))))

    def classify(self, features: Tensor) -> Tensor:
        return self.net.fc(features)
