import pytest
import torch

from f2at.models import create_model


# Parameter counts for 10 classes, as the implementations in common use for CIFAR publish them; VGG less its 4,224
# convolution biases, which BatchNorm makes redundant.
@pytest.mark.parametrize(
    ("name", "options", "parameters", "features"),
    [
        ("resnet18", {}, 11_173_962, 512),
        ("resnet50", {}, 23_520_842, 2048),
        ("wide_resnet", {}, 46_160_474, 640),
        ("wide_resnet", {"depth": 28}, 36_479_194, 640),
        ("vgg16_bn", {}, 14_728_266 - 4_224, 512),
    ],
)
def test_parameters_match_published_counts(name: str, options: dict[str, int], parameters: int, features: int) -> None:
    with torch.device("meta"):
        model = create_model(name, classes=10, **options)  # type: ignore[arg-type]
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.head.in_features == features


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "wide_resnet", "vgg16_bn"])
@pytest.mark.parametrize("size", [16, 32, 64])
def test_forward_is_head_of_features(name: str, size: int) -> None:
    depth = 10 if name == "wide_resnet" else None
    model = create_model(name, classes=7, width=2, depth=depth).eval()
    images = torch.rand(3, 3, size, size)
    features = model.features(images)
    assert features.shape == (3, model.head.in_features)
    torch.testing.assert_close(model(images), model.head(features))
    assert model(images).shape == (3, 7)


def test_normalisation_is_inside() -> None:
    model = create_model("resnet18", classes=2, width=2, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    normalised = model.normalize(torch.ones(1, 3, 1, 1))
    assert normalised.flatten().tolist() == [1.0, 3.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "alexnet", "classes": 10}, "architecture must be one of resnet18.*got 'alexnet'"),
        ({"name": "resnet18", "classes": 1}, "classes must be at least 2; got 1"),
        ({"name": "resnet18", "classes": 2, "width": 0}, "width must be at least 1; got 0"),
        ({"name": "resnet18", "classes": 2, "depth": 34}, "depth of resnet18 is 18; got 34"),
        ({"name": "wide_resnet", "classes": 2, "depth": 30}, "6 n \\+ 4.*got 30"),
        ({"name": "resnet18", "classes": 2, "std": (1.0, 0.0, 1.0)}, "std must be positive"),
        ({"name": "resnet18", "classes": 2, "mean": (0.5,)}, "3 values"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model(**arguments)  # type: ignore[arg-type]
