"""Wide ResNet (Zagoruyko and Komodakis, BMVC 2016): pre-activation blocks, three stages."""

from torch import Tensor, nn


class WideBlock(nn.Module):
    """BN, ReLU, 3x3, BN, ReLU, 3x3, and a shortcut; where the shape changes, it starts after the first ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.preactivation = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=False))
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = self.preactivation(x)
        skip = x if self.shortcut is None else self.shortcut(activated)
        out: Tensor = self.branch(activated) + skip
        return out


def wide_resnet(depth: int, width: int) -> tuple[nn.Module, int]:
    """A WRN-depth-width body and its number of features.

    Args:
        depth: total layers, 6 n + 4 (34 in the paper).
        width: widening factor (10 in the paper).
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"depth of a wide_resnet must be 6 n + 4 (10, 16, 22, 28, 34, ...); got {depth}")
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False)]
    channels = 16
    for stage in range(3):
        for index in range((depth - 4) // 6):
            stride = 2 if stage > 0 and index == 0 else 1
            layers.append(WideBlock(channels, (16 << stage) * width, stride))
            channels = (16 << stage) * width
    layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers), channels
