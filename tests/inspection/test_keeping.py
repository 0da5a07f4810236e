"""What is kept of a call: references that notice a change, copies that do not, each row and mask once."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from regard.errors import OptionError, WorkError
from regard.inspection.lens import lens
from tests.inspection.products import PADDING, B, D, H, K, Products, Q, random, tensors


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(OptionError, match="keep='everything' is unknown; there are 'reference', 'copy'"):
        lens(Products(), keep="everything")  # type: ignore[arg-type]


def test_references_point_to_the_tensors_of_the_run() -> None:
    model = Products()
    query, key, value = tensors()
    with lens(model) as seen:
        model(query, key, value)
    call = seen[""][0]
    assert [call.query.data_ptr(), call.key.data_ptr()] == [query.data_ptr(), key.data_ptr()]


def test_nothing_of_the_gradients_graph_is_held() -> None:
    model = Products()
    query, key, value = tensors()
    bias = random(1, H, Q, K).requires_grad_()
    with lens(model) as seen:
        model(query.requires_grad_(), key * 2, value, attn_mask=bias * 2)
    call = seen[""][0]
    held = call.query, call.key, call.value, call.dense_bias()
    assert not any(tensor is None or tensor.requires_grad for tensor in held)


def test_a_reference_that_was_written_raises_and_names_the_copy() -> None:
    model = Products()
    for keep, raises in (("reference", True), ("copy", False)):
        query, key, value = tensors()
        with lens(model, keep=keep) as seen:  # type: ignore[arg-type]
            model(query, key, value)
        judge = (query @ key.transpose(-2, -1) / D**0.5).softmax(-1)
        key.zero_()
        if raises:
            with pytest.raises(WorkError, match=r'Call 0 at the model itself cannot be read: .*keep="copy"'):
                seen[""].weights()
        else:
            assert torch.allclose(seen[""].weights(), judge, rtol=0, atol=1e-12)


def test_a_written_mask_and_a_trained_module_raise_too() -> None:
    model = Products()
    mask = PADDING[:, None, None].clone()
    with lens(model) as seen:
        model(*tensors(), attn_mask=mask)
    mask.fill_(True)
    with pytest.raises(WorkError, match="written after the call"):
        seen[""].weights()
    module = nn.MultiheadAttention(6, 2)
    with lens(module) as trained:
        module(*[random(K, B, 6).float()] * 3)
    with torch.no_grad():
        module.in_proj_weight.zero_()
    with pytest.raises(WorkError, match="an optimizer's step"):
        trained[""].weights()


@pytest.mark.parametrize("keep", ["copy", "bfloat16", "cpu"])
def test_copies_serve_whatever_happens_to_the_run(keep: Any) -> None:
    model = Products()
    given = tensors()
    mask = PADDING[:, None, None].clone()
    with lens(model, keep=keep) as seen:
        plain = model(*given, attn_mask=mask)
        judge = seen[""].weights()
        for tensor in (*given, mask):
            tensor.zero_()
    value = tensors()[2]
    assert torch.equal(seen[""].weights(), judge)
    tolerance = 0.05 if keep == "bfloat16" else 1e-12
    assert torch.allclose(judge @ value, plain, rtol=0, atol=tolerance)


def test_a_mask_that_many_calls_share_is_copied_once() -> None:
    model = Products()
    mask = PADDING[:, None, None].expand(-1, H, Q, -1).clone()
    with lens(model, keep="copy") as seen:
        for _ in range(3):
            model(*tensors(), attn_mask=mask)
    pointers = {call.dense_mask().data_ptr() for call in seen[""]}  # type: ignore[union-attr]
    assert len(pointers) == 1
    assert pointers != {mask.data_ptr()}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("keep", ["reference", "copy", "bfloat16"])
def test_growing_keys_read_as_one_map_and_only_new_rows_are_kept(mode: Callable[[], Any], keep: Any) -> None:
    model = Products()
    with mode():
        query, key, value = tensors(queries=K)
        with lens(model, keep=keep) as seen:
            for stop in range(3, K + 1):
                start = 0 if stop == 3 else stop - 1
                # a cache that makes new tensors
                model(
                    query[:, :, start:stop], key[:, :, :stop].clone(), value[:, :, :stop].clone(), is_causal=start == 0
                )
    site = seen[""]
    assert len(site) == K - 2
    judge = (query @ key.transpose(-2, -1) / D**0.5).masked_fill(torch.ones(K, K).triu(1) > 0, -torch.inf).softmax(-1)
    tolerance = 0.05 if keep == "bfloat16" else 1e-12
    assert torch.allclose(site.weights(), judge, rtol=0, atol=tolerance)
    assert torch.equal(site.weights(queries=[6, 2]), site.weights()[:, :, [6, 2]])
    assert [record.key.new.tensor.shape[2] for record in site.records] == [3, 1, 1, 1, 1]  # type: ignore[attr-defined]
    assert len({call.key.data_ptr() for call in site.calls}) == 1
