"""Small transformers with random weights, as torchvision, timm and transformers build them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from shapprune.data.vision import torchvision

CLASSES = 5
_IMAGES = {"image_size": 32, "patch_size": 8}
_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


@dataclass(frozen=True)
class Case:
    """A network and what it is scored on.

    Attributes:
        build: makes it; skips the test where its package is missing.
        inputs: examples, [3, ...].
        neurons: a layer of its feed-forward blocks -> the layer that reads its neurons.
        heads: a module with attention -> the layer that reads its heads.
        groups: how many heads, or groups of them, can leave by themselves.
    """

    build: Callable[[], nn.Module]
    inputs: Tensor
    neurons: tuple[str, str]
    heads: tuple[str, str]
    groups: int = 4
    transposed: bool = field(default=False)


def _of_timm(name: str, **options: object) -> Callable[[], nn.Module]:
    return lambda: pytest.importorskip("timm").create_model(name, num_classes=CLASSES, **options)


def _of_transformers(kind: str, config: str, **options: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        package = pytest.importorskip("transformers")
        return getattr(package, kind)(getattr(package, config)(**_SIZES | options))

    return build


def _swin(**kinds: type[nn.Module]) -> nn.Module:
    return torchvision.models.SwinTransformer([4, 4], 16, [1, 2], [2, 4], [3, 3], num_classes=CLASSES, **kinds)


def _swin_v2() -> nn.Module:
    swin = torchvision.models.swin_transformer
    return _swin(block=swin.SwinTransformerBlockV2, downsample_layer=swin.PatchMergingV2)


_PICTURES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
_TOKENS = torch.randint(50, (3, 8), generator=torch.Generator().manual_seed(0))
_WORDS = {"vocab_size": 50}

CASES = {
    "torchvision vit": Case(
        lambda: torchvision.models.VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=CLASSES),
        _PICTURES,
        ("encoder.layers.encoder_layer_0.mlp.0", "encoder.layers.encoder_layer_0.mlp.3"),
        ("encoder.layers.encoder_layer_1.self_attention", "encoder.layers.encoder_layer_1.self_attention.out_proj"),
    ),
    "torchvision swin": Case(
        _swin,
        _PICTURES,
        ("features.1.0.mlp.0", "features.1.0.mlp.3"),
        ("features.3.1.attn", "features.3.1.attn.proj"),
    ),
    "torchvision swin v2": Case(
        _swin_v2,
        _PICTURES,
        ("features.3.0.mlp.0", "features.3.0.mlp.3"),
        ("features.3.1.attn", "features.3.1.attn.proj"),
    ),
    "timm vit": Case(
        _of_timm("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=32, num_heads=4),
        _PICTURES,
        ("blocks.1.mlp.fc1", "blocks.1.mlp.fc2"),
        ("blocks.0.attn", "blocks.0.attn.proj"),
    ),
    "timm deit": Case(
        _of_timm("deit_tiny_distilled_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=32, num_heads=4),
        _PICTURES,
        ("blocks.0.mlp.fc1", "blocks.0.mlp.fc2"),
        ("blocks.1.attn", "blocks.1.attn.proj"),
    ),
    "timm mobilevit": Case(
        _of_timm("mobilevit_xxs"),
        torch.nn.functional.interpolate(_PICTURES, 64),
        ("stages.2.1.transformer.0.mlp.fc1", "stages.2.1.transformer.0.mlp.fc2"),
        ("stages.2.1.transformer.0.attn", "stages.2.1.transformer.0.attn.proj"),
    ),
    "gpt2": Case(
        _of_transformers("GPT2LMHeadModel", "GPT2Config", **_WORDS, bos_token_id=0, eos_token_id=0),
        _TOKENS,
        ("transformer.h.0.mlp.c_fc", "transformer.h.0.mlp.c_proj"),
        ("transformer.h.1.attn", "transformer.h.1.attn.c_proj"),
        transposed=True,
    ),
    "llama": Case(
        _of_transformers("LlamaForCausalLM", "LlamaConfig", **_WORDS, num_key_value_heads=2),
        _TOKENS,
        ("model.layers.1.mlp.gate_proj", "model.layers.1.mlp.down_proj"),
        ("model.layers.0.self_attn", "model.layers.0.self_attn.o_proj"),
        groups=2,
    ),
    "bert": Case(
        _of_transformers("BertForSequenceClassification", "BertConfig", **_WORDS),
        _TOKENS,
        ("bert.encoder.layer.0.intermediate.dense", "bert.encoder.layer.0.output.dense"),
        ("bert.encoder.layer.1.attention.self", "bert.encoder.layer.1.attention.output.dense"),
    ),
    "transformers vit": Case(
        _of_transformers("ViTForImageClassification", "ViTConfig", **_IMAGES),
        _PICTURES,
        ("vit.layers.0.mlp.fc1", "vit.layers.0.mlp.fc2"),
        ("vit.layers.1.attention", "vit.layers.1.attention.o_proj"),
    ),
}


def build(case: Case) -> nn.Module:
    """The network of a case, whose weights are all random and large enough to matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = case.build().eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.2)
    return model


def logits(outputs: object) -> Tensor:
    """What a network says of classes or tokens, [N, ...]."""
    found = outputs["logits"] if isinstance(outputs, dict) else outputs
    assert isinstance(found, Tensor)
    return found
