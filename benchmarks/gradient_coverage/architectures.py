"""The networks, with weights that switch nothing off, and their exports."""

from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

CLASSES, SIDE = 10, 64
EXPORTERS: dict[str, dict[str, Any]] = {
    "TorchScript, opset 17": {"dynamo": False, "opset_version": 17, "dynamic_axes": {"images": {0: "N"}}},
    "dynamo, opset 20": {"dynamo": True, "opset_version": 20, "dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},)},
    "default": {},
}
TORCHVISION = """
    alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet1_0
    mobilenet_v2 mobilenet_v3_large mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnet50 resnext50_32x4d
    shufflenet_v2_x1_0 squeezenet1_1 swin_t swin_v2_t vgg11_bn vgg16 vit_b_16 wide_resnet50_2
"""
TIMM = """
    beit_base_patch16_224 botnet26t_256 caformer_s18 cait_xxs24_224 coat_lite_tiny coatnet_nano_rw_224 convformer_s18
    convit_tiny convmixer_768_32 convnextv2_atto crossvit_tiny_240 csatv2 cspdarknet53 cspresnet50 darknet21 davit_tiny
    deit_tiny_patch16_224 dla34 dpn48b eca_nfnet_l0 ecaresnet26t edgenext_xx_small efficientformer_l1
    efficientformerv2_s0 efficientvit_b0 efficientvit_m0 ese_vovnet19b_dw eva02_tiny_patch14_224 fastvit_t8 fbnetc_100
    focalnet_tiny_srf gcvit_xxtiny gernet_s ghostnet_100 ghostnetv2_100 gmlp_s16_224 halonet26t hardcorenas_a
    hiera_tiny_224 hrnet_w18_small inception_next_atto inception_v4 lambda_resnet26t lcnet_050 legacy_seresnet18
    levit_128s mambaout_femto maxvit_nano_rw_256 maxxvit_rmlp_nano_rw_256 mixer_s32_224 mixnet_s mobilenetv1_100
    mobilenetv4_conv_small mobilenetv4_hybrid_medium mobileone_s0 mobilevit_xxs mobilevitv2_050 mvitv2_tiny nest_tiny
    nextvit_small nf_regnet_b0 nf_resnet26 pit_ti_224 poolformer_s12 pvt_v2_b0 rdnet_tiny regnetz_005 repghostnet_050
    repvgg_a0 repvit_m0_9 res2net50_14w_8s resmlp_12_224 resnest14d resnetv2_50 rexnet_100 selecsls42 semnasnet_075
    sequencer2d_s shvit_s1 skresnet18 spnasnet_100 starnet_s1 swiftformer_xs swin_s3_tiny_224 swinv2_cr_tiny_224
    tf_efficientnet_lite0 tf_efficientnetv2_b0 tiny_vit_5m_224 tinynet_e tnt_s_patch16_224 tresnet_m twins_pcpvt_small
    visformer_tiny vit_tiny_patch16_224 volo_d1_224 xception41 xcit_nano_12_p16_224
"""
ARCHITECTURES = (TORCHVISION + TIMM).split()
OTHERWISE: dict[str, tuple[int, dict[str, Any]]] = {  # a size, and arguments besides
    **dict.fromkeys(("alexnet", "vgg11_bn", "vgg16"), (224, {})),
    "inception_v3": (96, {"aux_logits": False, "init_weights": False}),
    "inception_v4": (96, {}),
    "googlenet": (SIDE, {"aux_logits": False, "init_weights": False}),
    "maxvit_t": (224, {"input_size": (224, 224)}),
    "vit_b_16": (SIDE, {"image_size": SIDE}),
    "halonet26t": (256, {}),
    "lambda_resnet26t": (128, {}),
    "tinynet_e": (96, {}),
    "tiny_vit_5m_224": (224, {}),
}


def architecture(name: str) -> tuple[nn.Module, int]:
    """A network in evaluation mode, and the side of its images."""
    torch.manual_seed(0)
    size, options = OTHERWISE.get(name, (0, {}))
    if name in TORCHVISION.split():
        model: nn.Module = torchvision.models.get_model(name, num_classes=CLASSES, **options)
        size = size or SIDE
    else:
        model = timm.create_model(name, num_classes=CLASSES)
        known: Any = model.pretrained_cfg
        size = size or (known["input_size"][-1] if known.get("fixed_input_size") else SIDE)
    _switch_on(model)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    with torch.no_grad():
        model.train()(torch.rand(8 if size == SIDE else 3, 3, size, size))
    return model.eval().requires_grad_(False), size


def _switch_on(model: nn.Module) -> None:
    """Draw what starts constant: scales and gates that are zero would hide what stands behind them."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.min() == weight.max():
                if weight.abs().max() > 0.5:
                    weight.uniform_(0.5, 1.5)
                elif name.endswith("bias"):
                    weight.normal_(0, 0.1)
                elif weight.ndim > 1 and weight.numel() > 1 and weight.max() == 0:
                    weight.normal_(0, 0.05)
                else:
                    weight.uniform_(0.2, 0.6)


def exported(model: nn.Module, images: Tensor, exporter: str, folder: Path) -> Path:
    """The model's file."""
    path = folder / "model.onnx"
    torch.onnx.export(
        model, (images,), path, input_names=["images"], output_names=["logits"], verbose=False, **EXPORTERS[exporter]
    )
    return path
