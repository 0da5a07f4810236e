import pytest
import torch
from torch import Tensor, nn

from regard.attention.attend import Attention
from regard.attention.caches import GrowingCache
from regard.attention.heads import CrossAttention, SelfAttention
from regard.attention.lengths import Padding
from regard.attention.patterns import Causal
from regard.errors import OptionError
from regard.layers.transformer import (
    Activation,
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    PostNorm,
    PreNorm,
    Residual,
)
from tests.attention.judge import assert_same
from tests.attention.test_heads import biased, pytorch, states

MODEL, HEADS, HIDDEN = 12, 3, 19
ACTIVATIONS: list[Activation] = ["relu", "gelu", "swiglu"]


def feed_forward(activation: Activation = "relu") -> FeedForward:
    torch.manual_seed(1)
    return FeedForward(MODEL, HIDDEN, activation=activation, dropout=0.0).double()


def encoder_layer(residual: Residual, activation: Activation = "relu", dropout: float = 0.0) -> EncoderLayer:
    torch.manual_seed(2)
    attention = SelfAttention(MODEL, HEADS, Attention())
    layer = EncoderLayer(
        attention, feed_forward(activation), residual=residual, model_dim=MODEL, dropout=dropout
    ).double()
    biased(layer)
    return layer


def decoder_layer(residual: Residual) -> DecoderLayer:
    torch.manual_seed(3)
    layer = DecoderLayer(
        SelfAttention(MODEL, HEADS, Attention()), CrossAttention(MODEL, HEADS, Attention()), feed_forward(),
        residual=residual, model_dim=MODEL, dropout=0.0,
    ).double()  # fmt: skip
    biased(layer)
    return layer


# The feed-forward network


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_feed_forward_network_is_the_formula(activation: Activation) -> None:
    part = feed_forward(activation)
    biased(part)
    wide = states(5) @ part.widen.weight.T + part.widen.bias
    if activation == "relu":
        inner = wide.clamp(min=0)
    elif activation == "gelu":
        inner = wide * 0.5 * (1 + torch.erf(wide / 2**0.5))
    else:
        gate, content = wide[..., :HIDDEN], wide[..., HIDDEN:]
        inner = gate / (1 + torch.exp(-gate)) * content
    assert_same(part(states(5)), inner @ part.narrow.weight.T + part.narrow.bias)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_equal_inputs_give_equal_outputs_wherever_they_stand(activation: Activation) -> None:
    part = feed_forward(activation)
    same = states(1).expand(-1, 5, -1)
    assert_same(part(same), part(same)[:, :1].expand(-1, 5, -1))


# Residuals


def check_norms_of_the_page() -> None:
    """X = [[1, 2], [2, 3]]: layer normalization gives [[-1, 1], [-1, 1]] in its rows (row E7 of the sources)."""
    rows = torch.tensor([[1.0, 2.0], [2.0, 3.0]])
    expected = torch.tensor([[-1.0, 1.0], [-1.0, 1.0]])

    def nothing(inner: Tensor) -> Tensor:
        return torch.zeros_like(inner)

    torch.testing.assert_close(PostNorm(2, 0.0)(rows, nothing), expected, rtol=0, atol=1e-4)
    seen = []

    def look(inner: Tensor) -> Tensor:
        seen.append(inner)
        return inner

    torch.testing.assert_close(PreNorm(2, 0.0)(rows, look), rows + expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=1e-4)
    by_columns = nn.BatchNorm1d(2)(rows)
    torch.testing.assert_close(by_columns, torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), rtol=0, atol=1e-4)


def test_layers_are_normalized_by_rows() -> None:
    check_norms_of_the_page()


def test_the_order_of_norm_and_residual() -> None:
    post, pre = PostNorm(MODEL, 0.0).double(), PreNorm(MODEL, 0.0).double()
    norm = nn.functional.layer_norm
    assert_same(post(states(5), torch.tanh), norm(states(5) + torch.tanh(states(5)), (MODEL,)))
    assert_same(pre(states(5), torch.tanh), states(5) + torch.tanh(norm(states(5), (MODEL,))))


def test_dropout_falls_on_the_sublayer_and_not_on_the_way_past_it() -> None:
    torch.manual_seed(4)
    part = PreNorm(MODEL, 0.5).double()
    added = part(states(101), torch.ones_like) - states(101)
    assert set(added.flatten().round(decimals=9).tolist()) == {0.0, 2.0}
    assert added.mean().item() == pytest.approx(1, abs=0.15)


# Blocks against PyTorch


def pytorch_encoder(ours: EncoderLayer, activation: Activation) -> nn.TransformerEncoderLayer:
    theirs = nn.TransformerEncoderLayer(
        MODEL, HEADS, HIDDEN, dropout=0.0, activation=activation, batch_first=True, dtype=torch.float64,
        norm_first=isinstance(ours.around_self, PreNorm),
    )  # fmt: skip
    copy_into(theirs, ours)
    return theirs


def copy_into(theirs: nn.Module, ours: EncoderLayer | DecoderLayer) -> None:
    """Give PyTorch's block our weights."""
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (theirs.get_submodule("self_attn"), pytorch(ours.self_attention)),
        (theirs.get_submodule("linear1"), ours.feed_forward.widen),
        (theirs.get_submodule("linear2"), ours.feed_forward.narrow),
        (theirs.get_submodule("norm1"), ours.around_self.norm),
    ]
    if isinstance(ours, DecoderLayer):
        pairs += [
            (theirs.get_submodule("multihead_attn"), pytorch(ours.cross_attention)),
            (theirs.get_submodule("norm2"), ours.around_cross.norm),
            (theirs.get_submodule("norm3"), ours.around_feed_forward.norm),
        ]
    else:
        pairs.append((theirs.get_submodule("norm2"), ours.around_feed_forward.norm))
    for to, source in pairs:
        to.load_state_dict(source.state_dict())


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
def test_the_encoder_block_is_that_of_pytorch(residual: Residual, activation: Activation) -> None:
    ours = encoder_layer(residual, activation)
    theirs = pytorch_encoder(ours, activation).train()  # without its fast path, which is less exact
    padding = torch.tensor([4, 7])
    hidden = torch.arange(7) >= padding[:, None]
    assert_same(ours(states(7), Padding(padding)), theirs(states(7), src_key_padding_mask=hidden))


@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
def test_the_decoder_block_is_that_of_pytorch(residual: Residual) -> None:
    ours = decoder_layer(residual)
    theirs = nn.TransformerDecoderLayer(
        MODEL, HEADS, HIDDEN, dropout=0.0, batch_first=True, dtype=torch.float64, norm_first=residual is PreNorm
    )
    copy_into(theirs, ours)
    memory, padding = states(7, seed=5), torch.tensor([4, 7])
    expected = theirs(
        states(5), memory, tgt_mask=torch.ones(5, 5, dtype=torch.bool).triu(1),
        memory_key_padding_mask=torch.arange(7) >= padding[:, None],
    )  # fmt: skip
    remembered = ours.cross_attention.remember(memory, Padding(padding))
    assert_same(ours(states(5), remembered, mask=Causal()), expected)


@pytest.mark.parametrize("chunk", [1, 2, 5])
@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
def test_a_cached_decoder_block_equals_the_whole(residual: Residual, chunk: int) -> None:
    layer, cache = decoder_layer(residual), GrowingCache(1)
    memory = layer.cross_attention.remember(states(7, seed=5), Padding(torch.tensor([4, 7])))
    with torch.no_grad():
        parts = states(5).tensor_split(tuple(range(chunk, 5, chunk)), dim=1)
        steps = [layer(part, memory, mask=Causal(), cache=cache) for part in parts]
        assert_same(torch.cat(steps, dim=1), layer(states(5), memory, mask=Causal()))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("residual", [PostNorm, PreNorm])
def test_every_parameter_of_a_block_learns(residual: Residual, activation: Activation) -> None:
    layer = encoder_layer(residual, activation)
    gradients = torch.autograd.grad(layer(states(7), Causal()).pow(3).sum(), list(layer.parameters()))
    for (name, _), gradient in zip(layer.named_parameters(), gradients, strict=True):
        assert bool(gradient.isfinite().all()), name
        assert bool(gradient.any()), name


def test_an_encoder_block_ignores_order() -> None:
    layer, order = encoder_layer(PostNorm), torch.tensor([4, 0, 6, 2, 1, 5, 3])
    assert_same(layer(states(7)[:, order]), layer(states(7))[:, order])


def test_an_activation_that_is_not_there_is_refused() -> None:
    with pytest.raises(OptionError, match="activation must be 'relu' or 'gelu' or 'swiglu'; it is 'silu'"):
        FeedForward(MODEL, HIDDEN, activation="silu", dropout=0.0)  # type: ignore[arg-type]
