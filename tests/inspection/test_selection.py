"""A part of a call: what is asked for is computed, and nothing else."""

from typing import Any

import numpy as np
import pytest
import torch

from regard.errors import OptionError
from regard.inspection.lens import lens
from tests.inspection.products import B, H, K, Products, Q, random, tensors
from tests.inspection.test_lens import batch, transformer


@pytest.mark.parametrize("heads", [H, 1])
def test_only_what_is_asked_for_is_computed(heads: int) -> None:
    model = Products()
    query, key, value = tensors(heads=heads)
    with lens(model) as seen:
        model(query, key, value, attn_mask=random(B, H, Q, K), enable_gqa=True)
    whole = seen[""].weights()
    assert torch.equal(seen[""].weights(batch=-1, heads=slice(1, None), queries=2), whole[1:, 1:, 2:3])
    assert torch.equal(seen[""].weights(heads=[2, 0], queries=[4, 0, 1]), whole[:, [2, 0]][:, :, [4, 0, 1]])
    assert torch.equal(seen[""].scores(batch=[1, 0]), seen[""].scores()[[1, 0]])
    assert torch.equal(seen[""].weights(heads=torch.tensor(1), queries=np.int64(2)), whole[:, 1:2, 2:3])
    assert torch.equal(seen[""].weights(heads=torch.tensor([2, 0]), batch=np.array([1])), whole[1:, [2, 0]])
    with pytest.raises(OptionError, match="heads names none; there are 3, counted from 0"):
        seen[""].weights(heads=[])
    assert seen[""].weights(batch=()).shape == (0, H, Q, K)
    with pytest.raises(OptionError, match="heads has no number 3: there are 3"):
        seen[""].weights(heads=3)
    with pytest.raises(OptionError, match=r"queries must be a whole number, .* or None for all; it is 1\.5\."):
        seen[""].weights(queries=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("choice", [True, [True, False], torch.tensor([True, False]), torch.tensor(True)])
def test_booleans_choose_nothing(choice: Any) -> None:
    model = transformer()
    with lens(model) as seen:
        model(*batch())
    with pytest.raises(OptionError, match="batch must be a whole number, a slice, several whole numbers"):
        seen["encoder.0.self_attention"].weights(batch=choice)
