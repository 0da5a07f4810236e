from collections.abc import Iterator

import pytest
import torch

from regard.attention.processor import capabilities, multiplies_by_tiles


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    multiplies_by_tiles.cache_clear()
    yield
    multiplies_by_tiles.cache_clear()


def test_tiles_are_told_type_by_type(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"amx_tile": True, "amx_bf16": True, "amx_fp16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert multiplies_by_tiles(torch.bfloat16)
    assert not multiplies_by_tiles(torch.float16)
    assert not multiplies_by_tiles(torch.float32)


def test_where_torch_cannot_ask_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert capabilities() == {}
    assert not multiplies_by_tiles(torch.bfloat16)
