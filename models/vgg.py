"""VGG-16 with BatchNorm (Simonyan and Zisserman, ICLR 2015) for small images, with one linear head."""

from torch import nn

STAGES = (
    (1, 1),
    (2, 2),
    (4, 4, 4),
    (8, 8, 8),
    (8, 8, 8),
)  # widths of the convolutions, in multiples of `width`


def vgg16_bn(width: int) -> tuple[nn.Module, int]:
    """A VGG-16-BN body and its number of features.

    Args:
        width: channels of the first stage (64 in the paper).

    Each of the five stages halves the image; where nothing is left to halve (images below 32 pixels), `ceil_mode`
    keeps one pixel.
    """
    layers: list[nn.Module] = []
    channels = 3
    for stage in STAGES:
        for multiple in stage:
            layers += [
                nn.Conv2d(channels, multiple * width, 3, padding=1, bias=False),
                nn.BatchNorm2d(multiple * width),
                nn.ReLU(inplace=True),
            ]
            channels = multiple * width
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers), channels
