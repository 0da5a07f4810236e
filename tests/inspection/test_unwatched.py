"""Attention that cannot be watched is named, with what to do."""

import threading
import types
import warnings

import pytest
import torch
from torch import Tensor, nn

from regard.attention import attend
from regard.errors import WorkError
from regard.inspection.lens import lens
from tests.inspection.products import B, D, K, Products, random, tensors


class StepByStepAttention(nn.Module):
    """What no lens can see."""

    def forward(self, states: Tensor) -> Tensor:
        return (states @ states.transpose(-2, -1)).softmax(-1) @ states


def test_a_module_that_attends_by_operations_of_its_own_raises_with_the_remedy() -> None:
    model = nn.ModuleDict({"seen": Products(), "attn": StepByStepAttention()})

    def run(model: nn.ModuleDict) -> None:
        model["attn"](random(B, K, D))
        model["seen"](*tensors())

    message = r"attn ran and made no call .*: StepByStepAttention computes .* F\.scaled_dot_product_attention"
    seen = lens(model)
    with pytest.raises(WorkError, match=message), seen:
        run(model)
    assert list(seen) == ["seen"]
    with pytest.raises(WorkError, match="attn was not seen: StepByStepAttention computes"):
        seen["attn"]
    with lens(model, partial=True) as some:
        model["attn"](random(B, K, D))
    assert len(some) == 0


@pytest.mark.parametrize(("flags", "remedy"), [((True, True), "sdpa"), ((False, True), "flex_attention")])
def test_the_remedy_is_what_the_model_can_run(flags: tuple[bool, bool], remedy: str) -> None:
    class OwnAttention(nn.Module):
        config = types.SimpleNamespace(_attn_implementation="eager")
        _supports_sdpa, _supports_flex_attn = flags

        def forward(self, given: Tensor) -> Tensor:
            return given.softmax(-1)

    model = OwnAttention()
    with pytest.raises(WorkError, match=rf"'eager'.*set_attn_implementation\(\"{remedy}\"\)"), lens(model):
        model(random(B, K))


def test_a_module_of_torchscript_raises_with_the_remedy() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        scripted = torch.jit.script(nn.MultiheadAttention(6, 2))
    with pytest.raises(WorkError, match="MultiheadAttention was compiled by TorchScript"), lens(scripted):
        scripted(*[random(K, B, 6).float()] * 3)


def test_attention_that_ran_in_another_thread_alone_says_so() -> None:
    layer = attend.Attention()
    query, key, value = tensors()
    thread = threading.Thread(target=lambda: layer(query, layer.remember(key, value)))

    def run() -> None:
        thread.start()
        thread.join()

    with pytest.raises(WorkError, match="Attention ran in another thread, whose calls are not watched"), lens(layer):
        run()


def test_an_error_of_the_run_is_not_hidden_by_the_lens() -> None:
    model = StepByStepAttention()

    def run() -> None:
        model(random(B, K, D))
        random(3) @ random(5)

    with pytest.raises(RuntimeError, match="size"), lens(nn.ModuleList([model])):
        run()
