"""The lens on a vision Transformer of the library timm, which is there only where torchvision is."""

from typing import Any

import pytest
import torch

from regard.inspection.lens import lens

timm: Any = pytest.importorskip(
    "timm", reason="timm cannot be imported: pip install timm torchvision", exc_type=ImportError
)


def test_watching_changes_nothing_and_weights_are_those_of_the_eager_path() -> None:
    torch.manual_seed(3)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}
    model = timm.models.vision_transformer.VisionTransformer(**sizes).eval()
    pictures = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        plain = model(pictures)
        with lens(model) as seen:
            assert torch.equal(model(pictures), plain)
        eager: list[torch.Tensor] = []
        for block in model.blocks:
            block.attn.fused_attn = False
            block.attn.attn_drop.register_forward_hook(lambda module, inputs, output: eager.append(output))
        model(pictures)
    assert list(seen) == ["blocks.0.attn", "blocks.1.attn"]
    for name, weights in zip(seen, eager, strict=True):
        assert torch.allclose(seen[name].weights(), weights, atol=1e-6)
