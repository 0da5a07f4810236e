import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any, get_args, get_type_hints

import pytest
import torch

from regard.attention import (
    biases,
    caches,
    heads,
    kernels,
    lengths,
    masks,
    normalizers,
    patterns,
    pooling,
    positions,
    rotary,
    rotary_heads,
    scalings,
    scores,
    shifts,
)
from regard.attention.catalogue import (
    BIASES,
    CACHES,
    CHOICES,
    HEADS,
    MASKS,
    NORMALIZERS,
    POSITIONS,
    ROTATIONS,
    SCORES,
    Row,
)
from regard.models.recurrent import RecurrentConfig
from regard.models.transformer import TransformerConfig
from tests.attention.judge import SIZES as ODD

SIZES = ODD._replace(query_dim=12, key_dim=12)  # sines and cosines pair up

TABLES: dict[str, Mapping[str, Row[Any]]] = {
    "scores": SCORES,
    "masks": MASKS,
    "biases": BIASES,
    "normalizers": NORMALIZERS,
    "choices": CHOICES,
    "positions": POSITIONS,
    "rotations": ROTATIONS,
    "heads": HEADS,
    "caches": CACHES,
}
ROWS = [(table, name) for table, rows in TABLES.items() for name in rows]
JOINS = {masks.Joined, masks.Both, masks.Either, masks.Opposite, biases.Sum, kernels.Kernel}


@pytest.mark.parametrize(("table", "name"), ROWS)
def test_a_row_tells_equation_and_source_and_builds(table: str, name: str) -> None:
    row = TABLES[table][name]
    assert re.fullmatch(r"[a-z][a-z0-9_]+", name)
    assert row.equation
    assert re.search(r"\d{4}|the same|whatever a caller knows", row.source)
    assert type(row.build(SIZES)) is type(row.build(SIZES._replace(batch=1, heads=1, queries=1, keys=3)))


@pytest.mark.parametrize(("table", "name"), ROWS)
def test_what_a_row_draws_follows_the_seed(table: str, name: str) -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(5)
        drawn.append(vars(TABLES[table][name].build(SIZES)))
    tensors = [{key: value for key, value in given.items() if isinstance(value, torch.Tensor)} for given in drawn]
    for key in tensors[0]:
        assert torch.equal(tensors[0][key], tensors[1][key])


@pytest.mark.parametrize(
    ("modules", "table", "base"),
    [
        ([scores, kernels], "scores", scores.Score),
        ([masks, patterns, lengths, shifts], "masks", masks.Mask),
        ([biases], "biases", biases.Bias),
        ([normalizers], "normalizers", normalizers.Normalizer),
        ([positions], "positions", torch.nn.Module),
        ([rotary], "rotations", torch.nn.Module),
        ([heads, rotary_heads, pooling], "heads", torch.nn.Module),
        ([caches], "caches", caches.Cache),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_every_part_has_a_row(modules: list[ModuleType], table: str, base: type) -> None:
    """What is written and is not in the catalogue is judged by no test that runs over it."""
    written = {
        part
        for module in modules
        for part in vars(module).values()
        if isinstance(part, type) and issubclass(part, base) and part.__module__ == module.__name__
    }
    built = {type(row.build(SIZES)) for row in TABLES[table].values()}
    assert written - JOINS - {base} == built


def test_every_scaling_has_a_row() -> None:
    written = {
        part for part in vars(scalings).values() if isinstance(part, type) and issubclass(part, scalings.Scaling)
    }
    assert {type(row.build(SIZES).scaling) for row in ROTATIONS.values()} == written


def test_another_name_of_a_mechanism_is_the_same_row() -> None:
    assert SCORES["concat"] is SCORES["additive"]
    assert MASKS["local_m"] is MASKS["window"]
    assert MASKS["local_p"] is MASKS["around"]


def test_models_know_mechanisms_by_the_names_of_the_catalogue() -> None:
    recurrent, transformer = get_type_hints(RecurrentConfig), get_type_hints(TransformerConfig)
    assert set(get_args(recurrent["score"])) <= set(SCORES)
    assert set(get_args(recurrent["window"])) - {"global"} <= set(MASKS)
    assert set(get_args(transformer["positions"])) <= set(POSITIONS)
