"""Pruning our own models: the same as switching heads off, and smaller."""

import copy

import pytest
import torch
from torch import Tensor, nn

from regard.attention.attend import Attention
from regard.attention.caches import GrowingCache
from regard.attention.heads import CrossAttention, SelfAttention
from regard.attention.normalizers import Softmax
from regard.attention.patterns import Causal
from regard.attention.rotary import Rotary
from regard.attention.rotary_heads import RotarySelfAttention
from regard.errors import OptionError
from regard.inspection.effects.interventions import HeadsOff, intervene
from regard.inspection.effects.pruning import prune, pruned_heads
from regard.inspection.lens import lens
from regard.models.transformer import Transformer, TransformerConfig
from tests.inspection.test_lens import batch

GONE = {"encoder.0.self_attention": [1], "decoder.0.cross_attention": [0, 2], "decoder.1.self_attention": [2]}


def transformer() -> Transformer:
    torch.manual_seed(3)
    config = TransformerConfig(
        model_dim=21, feed_forward_dim=11, num_heads=3, encoder_layers=1, decoder_layers=2, dropout=0.1,
        positions="learned",
    )  # fmt: skip
    model = Transformer(config, source_vocab=13, target_vocab=13).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # biases are zero when a model is built
    return model


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_a_pruned_model_is_the_model_with_these_heads_off() -> None:
    model = transformer()
    with intervene(model, {name: HeadsOff(heads) for name, heads in GONE.items()}):
        masked = model(*batch())
    assert not torch.allclose(masked, model(*batch()), atol=1e-3)
    before = parameters(model)
    prune(model, GONE)
    assert torch.allclose(model(*batch()), masked, atol=1e-6)
    # A head of 7: three projections of 21 + 1 numbers in, and 21 out.
    assert parameters(model) == before - 4 * (3 * 7 * 22 + 7 * 21)
    assert pruned_heads(model) == GONE


def test_the_names_that_the_lens_gives_can_be_pruned() -> None:
    model = transformer()
    with lens(model) as seen:
        model(*batch())
    name = next(name for name in seen if name.startswith("decoder.0.cross_attention"))
    prune(model, {name: [0]})
    assert pruned_heads(model) == {"decoder.0.cross_attention": [0]}
    with lens(model) as seen:
        model(*batch())
    assert seen["decoder.0.cross_attention"].weights().shape[1] == 2


def test_heads_are_counted_as_they_are_now_and_remembered_as_they_were() -> None:
    model, twice = transformer(), transformer()
    prune(model, {"encoder.0.self_attention": [0, 2]})
    prune(twice, {"encoder.0.self_attention": [0]})
    prune(twice, {"encoder.0.self_attention": [1]})
    assert pruned_heads(model) == pruned_heads(twice) == {"encoder.0.self_attention": [0, 2]}
    assert torch.equal(model(*batch()), twice(*batch()))


def test_a_fresh_model_pruned_by_the_record_takes_the_weights() -> None:
    model, fresh = transformer(), transformer()
    prune(model, {"decoder.1.cross_attention": [1]})
    prune(model, {"decoder.1.cross_attention": [1], "encoder.0.self_attention": [0]})
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.zero_()
    prune(fresh, pruned_heads(model))
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(model(*batch()), fresh(*batch()))


def test_decoding_step_by_step_goes_on_with_a_cache() -> None:
    model = transformer()
    prune(model, GONE)
    source, lengths, target = batch()
    state = model.start(model.encode(source, lengths))
    steps = torch.cat([model.step(target[:, step : step + 1], state) for step in range(target.shape[1])], dim=1)
    assert torch.allclose(steps, model.decode(model.encode(source, lengths), target), atol=1e-5)


def test_a_pruned_model_learns() -> None:
    model = transformer().train()
    prune(model, GONE)
    model(*batch()).square().mean().backward()
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if "attention" in name)
    frozen = transformer().requires_grad_(False)
    prune(frozen, GONE)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


@pytest.mark.parametrize("kind", [SelfAttention, RotarySelfAttention])
@pytest.mark.parametrize(("gone", "shared"), [([0, 1, 2], 1), ([1, 3], 2), ([0, 5], 2)])
def test_grouped_heads_go_by_the_group_or_as_many_of_each(
    kind: type[SelfAttention], gone: list[int], shared: int
) -> None:
    torch.manual_seed(5)
    more = (Rotary(2),) if kind is RotarySelfAttention else ()
    layer = kind(24, 6, Attention(), *more, num_kv_heads=2).double()
    states = torch.randn(2, 5, 24, dtype=torch.float64)
    with intervene(layer, {"": HeadsOff(gone)}):
        masked = layer(states, mask=Causal())
    prune(layer, {"": gone})
    assert (layer.num_heads, layer.num_kv_heads) == (6 - len(gone), shared)
    assert torch.allclose(layer(states, mask=Causal()), masked, atol=1e-12)
    cache = GrowingCache()
    steps = [layer(states[:, step : step + 1], mask=Causal(), cache=cache) for step in range(5)]
    assert torch.allclose(torch.cat(steps, dim=1), masked, atol=1e-12)


def test_grouped_heads_that_would_be_uneven_are_told() -> None:
    layer = CrossAttention(24, 6, Attention(), num_kv_heads=2)
    with pytest.raises(OptionError, match=r"has 6 heads over 2 heads of keys and values.* leaves \[1, 3\] of each"):
        prune(layer, {"": [0, 1]})


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({"encoder.0.self_attention": [3]}, r"encoder\.0\.self_attention has heads 0 to 2, counted as they are now"),
        (
            {"encoder.0.self_attention": [0.5]},
            r"heads of encoder\.0\.self_attention must be a whole number, .* it is \[0\.5",
        ),
        ({"encoder.0.self_attention": [True, False]}, r"heads of encoder\.0\.self_attention must be a whole number"),
        ({"encoder.0.self_attention": [1, 1]}, r"asked to lose 1, 1\. Name each once\."),
        ({"encoder.0.self_attention": [0, 1, 2]}, r"cannot lose all of its 3 heads\. Leave one"),
        (
            {"encoder.0.feed_forward": [0]},
            r"'encoder\.0\.feed_forward' is a FeedForward, which cannot be pruned\. What",
        ),
        (
            {"encoder.7": [0]},
            r"'encoder\.7' is no module of the model and cannot be pruned\. What can be: encoder\.0\.",
        ),
        (
            {"encoder.0.self_attention": [0], "encoder.0.self_attention.attention": [1]},
            r"heads names a module twice: .*, encoder\.0\.self_attention\. Name each once\.",
        ),
    ],
)
def test_what_cannot_be_pruned_is_told_and_nothing_is_pruned(heads: dict[str, list[int]], message: str) -> None:
    model = transformer()
    with pytest.raises(OptionError, match=message):
        prune(model, {"decoder.0.cross_attention": [0]} | heads)
    assert pruned_heads(model) == {}
    with pytest.raises(OptionError, match=r"heads must name modules, .* it is of type list\."):
        prune(model, [0])  # type: ignore[arg-type]


def test_parts_with_parameters_of_their_own_are_not_cut_in_silence() -> None:
    class Tempered(Softmax):
        def __init__(self) -> None:
            super().__init__()
            self.temperature = nn.Parameter(torch.ones(3))

    layer = SelfAttention(21, 3, Attention(normalizer=Tempered()))
    with pytest.raises(OptionError, match=r"attends by parts with parameters of their own"):
        prune(layer, {"": [0]})


def test_a_copy_of_a_pruned_model_is_pruned() -> None:
    model = transformer()
    prune(model, GONE)
    again = copy.deepcopy(model)
    assert pruned_heads(again) == GONE
    outputs: list[Tensor] = [one(*batch()) for one in (model, again)]
    assert torch.equal(*outputs)
