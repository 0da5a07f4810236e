"""PyTorch's own samples of its attention modules and functions (`torch.testing`), run by ours with the same weights.

The databases need the package expecttest. Dropout is left out, since no two programs drop the same weights.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import _pytree as pytree

from regard.attention import pytorch
from tests.attention.judge import assert_same
from tests.conformance.torch_layers import copied, parameter_gradients

pytest.importorskip("expecttest", reason="PyTorch's databases need the package expecttest (extra 'conformance')")

Run = Callable[[], Any]
Sample = Any  # torch.testing's ModuleInput or SampleInput
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
DTYPES = [torch.float64, torch.float32]
LAYERS = [nn.TransformerEncoderLayer, nn.TransformerDecoderLayer]
MODULES = [nn.MultiheadAttention, *LAYERS, nn.TransformerEncoder, nn.Transformer]


def module_samples(kind: type[nn.Module], dtype: torch.dtype, training: bool) -> Iterator[tuple[nn.Module, Sample]]:
    """Give PyTorch's modules of a kind with what goes into them."""
    from torch.testing._internal.common_modules import module_db

    torch.manual_seed(1)
    (row,) = (row for row in module_db if row.module_cls is kind)
    samples = row.module_inputs_func(row, "cpu", dtype, True, training)
    assert len(samples) >= 32
    for sample in samples:
        arguments = sample.constructor_input
        made = {} if arguments.args and isinstance(arguments.args[0], nn.Module) else {"dtype": dtype}
        module = kind(*arguments.args, **arguments.kwargs, **made).train(training)
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter)
        for part in module.modules():
            if isinstance(part, nn.TransformerEncoder):
                part.use_nested_tensor = False  # else padding is cut out in evaluation: other rows, and a warning
        yield module, sample


def with_ours(module: nn.Module) -> nn.Module:
    """Return a copy in which our attention stands in the place of PyTorch's."""
    if isinstance(module, nn.MultiheadAttention):
        return drop_in(module)
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MultiheadAttention):
                setattr(parent, name, drop_in(child))
    return module


def drop_in(theirs: nn.MultiheadAttention) -> pytorch.MultiheadAttention:
    ours = pytorch.MultiheadAttention(
        theirs.embed_dim,
        theirs.num_heads,
        theirs.dropout,
        bias=theirs.in_proj_bias is not None,
        add_bias_kv=theirs.bias_k is not None,
        add_zero_attn=theirs.add_zero_attn,
        kdim=theirs.kdim,
        vdim=theirs.vdim,
        batch_first=theirs.batch_first,
        dtype=theirs.out_proj.weight.dtype,
    )
    ours.load_state_dict(theirs.state_dict())
    return ours.train(theirs.training)


def leaves_of(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def loss_of(answer: Any) -> Tensor:
    """Mix all numbers of an answer by fixed factors."""
    total = torch.zeros((), dtype=torch.float64)
    for leaf in leaves_of(answer):
        total = total + (leaf.double() * torch.linspace(-1.0, 1.3, leaf.numel()).double().view(leaf.shape)).sum()
    return total


def compare(ours: Any, theirs: Any, dtype: torch.dtype) -> None:
    for actual, expected in zip(leaves_of(ours), leaves_of(theirs), strict=True):
        assert_same(actual, expected, TOLERANCE[dtype])


def gradients(answer: Any, leaves: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(loss_of(answer), leaves, retain_graph=True, materialize_grads=True))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", MODULES, ids=lambda kind: kind.__name__)
def test_our_module_answers_and_learns_as_pytorchs(kind: type[nn.Module], dtype: torch.dtype) -> None:
    for theirs, sample in module_samples(kind, dtype, training=True):
        ours = with_ours(theirs)
        given = sample.forward_input
        inputs = [leaf for leaf in leaves_of((given.args, given.kwargs)) if leaf.requires_grad]
        actual, expected = ours(*given.args, **given.kwargs), theirs(*given.args, **given.kwargs)
        compare(actual, expected, dtype)
        compare(
            gradients(actual, [*inputs, *ours.parameters()]),
            gradients(expected, [*inputs, *theirs.parameters()]),
            dtype,
        )


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", MODULES, ids=lambda kind: kind.__name__)
@torch.no_grad()
def test_our_module_answers_as_pytorchs_in_evaluation(kind: type[nn.Module], dtype: torch.dtype) -> None:
    """Without gradients PyTorch takes another path there, and would go past our module."""
    for theirs, sample in module_samples(kind, dtype, training=False):
        given = sample.forward_input
        compare(with_ours(theirs)(*given.args, **given.kwargs), theirs(*given.args, **given.kwargs), dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_the_blocks_of_our_transformer_are_pytorchs(kind: type[nn.Module], dtype: torch.dtype) -> None:
    for theirs, sample in module_samples(kind, dtype, training=True):
        ours = copied(theirs)
        given = sample.forward_input
        actual, expected = ours(*given.args, **given.kwargs), theirs(*given.args, **given.kwargs)
        compare(actual, expected, dtype)
        compare(gradients(actual, list(given.args)), gradients(expected, list(given.args)), dtype)
        names, parameters = zip(*theirs.named_parameters(), strict=True)
        found = parameter_gradients(ours, loss_of(actual))
        compare([found[name] for name in names], gradients(expected, list(parameters)), dtype)


def operator_samples(name: str, dtype: torch.dtype) -> list[Sample]:
    from torch.testing._internal.common_methods_invocations import op_db

    torch.manual_seed(2)
    (row,) = (row for row in op_db if row.name == name)
    return list(row.sample_inputs("cpu", dtype, requires_grad=False))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_our_function_answers_and_learns_as_pytorchs(dtype: torch.dtype) -> None:
    samples = operator_samples("nn.functional.scaled_dot_product_attention", dtype)
    assert len(samples) >= 25
    for sample in samples:
        arguments = sample.kwargs | {"dropout_p": 0.0}
        inputs = [tensor.requires_grad_() for tensor in (sample.input, *sample.args)]
        if "attn_mask" in arguments:
            inputs.append(arguments["attn_mask"].requires_grad_())
        actual = pytorch.scaled_dot_product_attention(*inputs[:3], **arguments)
        expected = functional.scaled_dot_product_attention(*inputs[:3], **arguments)
        compare(actual, expected, dtype)
        compare(gradients(actual, inputs), gradients(expected, inputs), dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_our_module_answers_as_pytorchs_function_of_many_heads(dtype: torch.dtype) -> None:
    samples = operator_samples("nn.functional.multi_head_attention_forward", dtype)
    assert len(samples) >= 190
    for sample in samples:
        arguments = sample.kwargs | {"training": False}
        expected, expected_weights = functional.multi_head_attention_forward(sample.input, *sample.args, **arguments)
        ours = of_function(sample.args, arguments, dtype).eval()
        actual, weights = ours(sample.input, *sample.args[:2], attn_mask=arguments["attn_mask"])
        compare((actual, weights), (expected, expected_weights), dtype)


def of_function(arguments: tuple[Any, ...], named: dict[str, Any], dtype: torch.dtype) -> pytorch.MultiheadAttention:
    """Return our module with the weights that PyTorch's function is given."""
    _, _, width, heads, packed, offset, bias_k, bias_v, zero, dropout, weight, bias = arguments
    if named["use_separate_proj_weight"]:
        packed = torch.cat([named["q_proj_weight"], named["k_proj_weight"], named["v_proj_weight"]])
    ours = pytorch.MultiheadAttention(width, heads, dropout, add_bias_kv=True, add_zero_attn=zero, dtype=dtype)
    ours.load_state_dict(
        {
            "in_proj_weight": packed,
            "in_proj_bias": offset,
            "out_proj.weight": weight,
            "out_proj.bias": bias,
            "bias_k": bias_k.view(1, 1, -1),
            "bias_v": bias_v.view(1, 1, -1),
        }
    )
    return ours
