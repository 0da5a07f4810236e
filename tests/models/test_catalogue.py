"""The table of models, and models of shapes alone."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from regard.errors import InputError
from regard.models.catalogue import blueprint, build_model
from regard.models.recurrent import RecurrentConfig
from regard.models.transformer import TransformerConfig

CONFIGS: list[Any] = [
    TransformerConfig(model_dim=22, num_heads=11, encoder_layers=2, decoder_layers=1),
    TransformerConfig(model_dim=22, num_heads=11, positions="learned", max_length=13, norm="pre"),
    RecurrentConfig(model_dim=22, hidden_dim=13, cell="lstm"),
    RecurrentConfig(model_dim=22, hidden_dim=13, attention="luong", score="location", window="local_p"),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_blueprint_has_the_shapes_of_the_model_and_no_values(config: Any) -> None:
    sizes = {"source_vocab": 17, "target_vocab": 17}
    random = torch.get_rng_state()
    drawn = blueprint(config, **sizes)
    assert torch.equal(torch.get_rng_state(), random), "random numbers were used up"
    built = build_model(config, **sizes)
    assert [(name, weight.shape) for name, weight in drawn.state_dict().items()] == [
        (name, weight.shape) for name, weight in built.state_dict().items()
    ]
    assert all(tensor.is_meta for tensor in (*drawn.parameters(), *drawn.buffers()))


def test_a_blueprint_refuses_what_the_model_would_refuse() -> None:
    for build in (blueprint, build_model):
        with pytest.raises(InputError, match=r"^model_dim \(21\) must be even for sinusoidal positions"):
            build(TransformerConfig(model_dim=21, num_heads=3), source_vocab=17, target_vocab=17)


def test_a_blueprint_does_not_pay_for_what_torch_imports_to_fill_it() -> None:
    code = (
        "import sys; from regard.models.catalogue import blueprint; from regard.models.transformer import *; "
        "before = len(sys.modules); blueprint(TransformerConfig(), source_vocab=17, target_vocab=17); "
        "sys.exit(len(sys.modules) - before > 50)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
