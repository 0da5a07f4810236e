import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from regard.attention.attend import EVERYTHING, Attention, observers
from regard.attention.biases import Alibi
from regard.attention.call import AttentionCall
from regard.attention.lengths import Padding
from regard.attention.normalizers import Sparsemax
from regard.attention.patterns import Causal, Window
from regard.attention.positions import SinusoidalPositions
from regard.attention.scores import Cosine
from regard.attention.ways import fused
from regard.generation.plain import plain
from regard.models.recurrent import Recurrent, RecurrentConfig
from regard.models.roles import Seq2Seq
from regard.models.transformer import Transformer, TransformerConfig

VOCAB = 17


def tiny_transformer(norm: str) -> Transformer:
    config = TransformerConfig(model_dim=12, feed_forward_dim=20, num_heads=3, encoder_layers=2, norm=norm)  # type: ignore[arg-type]
    return Transformer(config, source_vocab=VOCAB, target_vocab=VOCAB)


def tiny_recurrent(attention: str) -> Recurrent:
    config = RecurrentConfig(model_dim=11, hidden_dim=13, attention=attention)  # type: ignore[arg-type]
    return Recurrent(config, source_vocab=VOCAB, target_vocab=VOCAB)


MODELS: list[Callable[[], Seq2Seq]] = [
    lambda: tiny_transformer("pre"),
    lambda: tiny_transformer("post"),
    lambda: tiny_recurrent("none"),
    lambda: tiny_recurrent("bahdanau"),
    lambda: tiny_recurrent("luong"),
]


def states_of(model: Seq2Seq) -> list[Tensor]:
    source = torch.arange(3, 17).view(2, 7)
    with torch.no_grad():
        state = model.start(model.encode(source, torch.tensor([7, 5])))
        return [model.output(model.step(source[:, t : t + 1], state)) for t in range(3)]


@pytest.mark.parametrize("build", MODELS)
def test_a_view_computes_what_the_model_does_to_the_last_bit(build: Callable[[], Seq2Seq]) -> None:
    torch.manual_seed(3)
    model = build().eval()
    assert all(map(torch.equal, states_of(plain(model)), states_of(model)))


@pytest.mark.parametrize("build", MODELS)
def test_making_and_using_a_view_leaves_the_model_as_it_was(build: Callable[[], Seq2Seq]) -> None:
    model = build().eval()
    before = {name: dict(module.__dict__) for name, module in model.named_modules()}
    states_of(plain(model))
    assert {name: dict(module.__dict__) for name, module in model.named_modules()} == before


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_view_takes_texts_that_outgrow_the_table_of_positions(norm: str) -> None:
    """The sines of 256 positions are made beforehand, those of more when they are needed."""
    long, position = torch.arange(263).remainder(13).view(1, 263) + 3, 521
    lengths = torch.tensor([263])
    with torch.inference_mode():
        torch.manual_seed(3)
        model = tiny_transformer(norm).eval()
        view = plain(model)
        assert torch.equal(view.encode(long, lengths).states, model.encode(long, lengths).states)
        found = [one.target_embedding.at(long[:, :1], position, 1) for one in (view, view, model)]
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[2])
    positions = model.target_embedding.positions
    assert isinstance(positions, SinusoidalPositions)
    assert len(positions.table) == 2 * (position + 1)  # once, for the view and the model


def test_a_view_sees_parameters_that_change_in_place() -> None:
    linear = nn.Linear(2, 3)
    view = plain(linear)
    with torch.no_grad():
        linear.weight.mul_(2)
    assert torch.equal(view(torch.ones(2)), linear(torch.ones(2)))


class Counting(nn.Module):
    """Keeps what it has seen, in a buffer and in a number."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(0), persistent=False)
        self.seen: Tensor
        self.calls = 0

    def forward(self, states: Tensor) -> Tensor:
        self.seen = torch.cat((self.seen, states))
        self.calls += 1
        return self.seen.sum() * self.calls


def test_a_module_keeps_what_its_view_keeps() -> None:
    model, other = nn.Sequential(Counting()), nn.Sequential(Counting())
    view = plain(model)
    for number in range(3):
        states = torch.full((2,), float(number))
        assert torch.equal(view(states), other(states))
    kept = model[0]
    assert isinstance(kept, Counting)
    assert kept.calls == 3
    assert kept.seen.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_what_is_not_plain_stays() -> None:
    """Hooks, own `forward`s, weights made of others and scripted modules work in a view as they do without."""
    seen: list[nn.Module] = []
    hooked, own, scripted = nn.Linear(3, 3), nn.Linear(3, 3), torch.jit.script(nn.ReLU())
    hooked.register_forward_hook(lambda module, inputs, output: seen.append(module))
    own.forward = lambda states: states + 1  # type: ignore
    model = nn.Sequential(hooked, own, parametrizations.weight_norm(nn.Linear(3, 3)), scripted).eval()
    states = torch.ones(2, 3)
    assert torch.equal(plain(model)(states), model(states))
    assert seen == [hooked, hooked]


def test_a_hook_on_all_modules_is_called() -> None:
    called: list[nn.Module] = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: called.append(module))
    try:
        plain(nn.Linear(2, 2))(torch.ones(2))
    finally:
        handle.remove()
    assert len(called) == 1


class Noted:
    """The calls that pass while it is among the observers."""

    def __init__(self) -> None:
        self.calls: list[AttentionCall] = []

    def __call__(self, call: AttentionCall, run: Callable[[AttentionCall], Tensor]) -> Tensor:
        self.calls.append(call)
        return run(call)

    def __enter__(self) -> "Noted":
        observers.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        observers.remove(self)


def test_a_view_takes_the_ways_of_the_model_and_is_observed() -> None:
    attention = Attention().eval()
    heads = torch.randn(1, 2, 5, 3)
    view = plain(attention)
    with Noted() as noted:
        view(heads, attention.remember(heads, heads))
    assert [fused.why_not(call) for call in noted.calls] == [None]


ATTENTIONS: list[Callable[[], Attention]] = [
    Attention,
    lambda: Attention(dropout=0.5),
    lambda: Attention(score=Cosine(3.0)),
    lambda: Attention(normalizer=Sparsemax()),
    lambda: Attention(soft_cap=2.0),
    lambda: Attention(scale=0.3),
    lambda: Attention(way="reference"),
]
CALLS: list[dict[str, Any]] = [{}, {"mask": Causal()}, {"bias": Alibi(6)}, {"offset": 4, "mask": Window(2, 0)}]


@pytest.mark.parametrize("build", ATTENTIONS)
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("key_heads", [6, 2])
def test_a_view_attends_as_the_module_does_to_the_last_bit(
    build: Callable[[], Attention], train: bool, dtype: torch.dtype, key_heads: int
) -> None:
    torch.manual_seed(7)
    attention = build().train(train)
    query, key = torch.randn(2, 6, 5, 3, dtype=dtype), torch.randn(2, key_heads, 7, 3, dtype=dtype)
    view = plain(attention)
    for mask in (EVERYTHING, Padding(torch.tensor([7, 4]))):
        memory = attention.remember(key, key, mask)
        for call in CALLS:
            for autocast in (False, True):
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                    found = [seeded(one, query, memory, **call) for one in (view, attention)]
                assert found[0].dtype == found[1].dtype
                assert torch.equal(*found)


def seeded(attention: Attention, *given: Any, **options: Any) -> Tensor:
    torch.manual_seed(11)
    return attention(*given, **options)  # type: ignore[no-any-return]


def test_a_model_stays_itself_where_attention_is_observed() -> None:
    model = tiny_transformer("pre")
    with Noted():
        assert plain(model) is model
    assert plain(model) is not model


@pytest.mark.parametrize("parts", [[], [nn.Identity()], [None]])
def test_modules_with_and_without_parts_have_a_view(parts: list[Any]) -> None:
    module = nn.Module()
    for number, part in enumerate(parts):
        module.add_module(str(number), part)
    assert list(plain(module).__dict__["_modules"]) == list(module._modules)
    assert isinstance(plain(copy.deepcopy(module)), nn.Module)
