from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import nn

from regard.errors import OptionError
from regard.training import precision
from regard.training.precision import cast, choose

CPU = torch.device("cpu")


def pretend(monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, Any] | None) -> None:
    """Let the processor say this of itself; None: this torch cannot ask it."""
    if capabilities is None:
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    else:
        known = MappingProxyType(capabilities)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)


@pytest.mark.parametrize(("capability", "sign"), [("avx512_bf16", "AVX512-BF16"), ("amx_bf16", "AMX")])
def test_auto_takes_bfloat16_where_the_cpu_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, capability: str, sign: str
) -> None:
    pretend(monkeypatch, {"architecture": "x86_64", capability: True})
    chosen = choose("auto", CPU)
    assert chosen.dtype == torch.bfloat16
    assert chosen.reason == f"bfloat16 with float32 masters: this CPU multiplies it in hardware ({sign})."


def test_auto_takes_float32_on_an_older_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"architecture": "x86_64", "avx2": True, "avx512_bf16": False})
    chosen = choose("auto", CPU)
    assert chosen.dtype == torch.float32
    assert chosen.reason == "float32: this CPU has neither AVX512-BF16 nor AMX."


@pytest.mark.parametrize("capabilities", [None, {"architecture": "arm64", "bf16": True}])
@pytest.mark.parametrize(("ratio", "dtype"), [(1.4, torch.float32), (3.9, torch.bfloat16)])
def test_where_the_cpu_does_not_say_a_product_is_timed(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, Any] | None, ratio: float, dtype: torch.dtype
) -> None:
    pretend(monkeypatch, capabilities)
    monkeypatch.setattr(precision, "_speed_of_bfloat16", lambda: ratio)
    chosen = choose("auto", CPU)
    assert chosen.dtype == dtype
    assert f"a bfloat16 product ran {ratio} times as fast" in chosen.reason


def test_the_timing_gives_a_ratio() -> None:
    assert 0 < precision._speed_of_bfloat16(size=32, rounds=3) < 1000


def test_without_onednn_auto_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert choose("auto", CPU).dtype == torch.float32


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)]
)
def test_a_gpu_computes_bfloat16_from_capability_8_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    chosen = choose("auto", torch.device("cuda"))
    assert chosen.dtype == dtype
    assert f"{capability[0]}.{capability[1]}" in chosen.reason


def test_mps_stays_in_float32() -> None:
    assert choose("auto", torch.device("mps")).dtype == torch.float32


def test_what_is_asked_for_is_done_and_a_doubt_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"architecture": "x86_64"})
    assert choose("float32", CPU) == precision.Precision(torch.float32, "float32, as asked.")
    asked = choose("bfloat16", CPU)
    assert asked.dtype == torch.bfloat16
    assert "slower than float32 here: this CPU has neither AVX512-BF16 nor AMX" in asked.reason


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(OptionError, match="precision 'half' is none of auto, float32, bfloat16"):
        choose("half", CPU)  # type: ignore[arg-type]


def test_casting_returns_the_exact_values_of_what_it_rounded() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    masters = cast(model, torch.bfloat16)
    assert masters.keys() == dict(model.named_parameters()).keys()
    assert all(torch.equal(master, before[name]) for name, master in masters.items())
    assert all(p.dtype == torch.bfloat16 for p in model.parameters())
    assert model.state_dict()["1.num_batches_tracked"].dtype == torch.int64


def test_casting_to_the_type_that_a_model_has_returns_nothing() -> None:
    model = nn.Linear(3, 5)
    weight = model.weight
    assert cast(model, torch.float32) == {}
    assert model.weight is weight


def test_casting_keeps_tied_parameters_tied() -> None:
    model = nn.ModuleDict({"first": nn.Linear(3, 3), "second": nn.Linear(3, 3)})
    model["second"].weight = model["first"].weight
    masters = cast(model, torch.bfloat16)
    assert model["second"].weight is model["first"].weight
    assert masters.keys() == {"first.weight", "first.bias", "second.bias"}
