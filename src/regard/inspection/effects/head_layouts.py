"""Where the heads of a module lie in its projections: a plain table, by the class of the module that attends.

Our modules, and those of BERT, RoBERTa, ELECTRA, DistilBERT, GPT-2, T5, ViT, BART, Marian and Llama in version 5 of the
library transformers, which need not be installed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the heads of a module lie.

    Attributes:
        inward: Its projections to heads, by name, and what each makes, in order: "q" for query, "k" and "v".
        output: Its projection back; names count from the module, and ".." is the module above.
        head_dim: The attribute with the width of a head.
        settle: Tells the module its new numbers of heads of queries and of keys.
        shares_bias: The module above that hands the position bias of its first layer to the next ones, by class.
    """

    inward: Mapping[str, str]
    output: str
    head_dim: str
    settle: Callable[[Any, int, int], None]
    shares_bias: str | None = None


def settle_ours(module: Any, heads: int, shared: int) -> None:
    """Count the heads of `attention.heads` anew."""
    module.num_heads, module.num_kv_heads = heads, shared
    if hasattr(module, "all_heads"):
        module.heads = (heads, shared, shared)
        module.all_heads = sum(module.heads)


def settle_bert(module: Any, heads: int, shared: int) -> None:
    """Count the heads of BERT and what was made after it."""
    module.num_attention_heads = heads
    module.all_head_size = heads * module.attention_head_size


def settle_distilbert(module: Any, heads: int, shared: int) -> None:
    """Count the heads of DistilBERT."""
    module.n_heads, module.dim = heads, heads * module.attention_head_size


def settle_gpt2(module: Any, heads: int, shared: int) -> None:
    """Count the heads of GPT-2; its packed projection is cut into pieces of one width."""
    module.num_heads, module.split_size = heads, heads * module.head_dim


def settle_t5(module: Any, heads: int, shared: int) -> None:
    """Count the heads of T5."""
    module.n_heads, module.inner_dim = heads, heads * module.key_value_proj_dim


def settle_vit(module: Any, heads: int, shared: int) -> None:
    """Count the heads of ViT."""
    module.num_attention_heads = heads


def settle_bart(module: Any, heads: int, shared: int) -> None:
    """Count the heads of BART and Marian."""
    module.num_heads = heads


def settle_llama(module: Any, heads: int, shared: int) -> None:
    """Count the groups of Llama."""
    module.num_key_value_groups = heads // shared


def apart(query: str, key: str, value: str) -> dict[str, str]:
    """Return three projections, one a kind."""
    return {query: "q", key: "k", value: "v"}


BERT = Layout(
    inward=apart("query", "key", "value"), output="..output.dense", head_dim="attention_head_size", settle=settle_bert
)
BART = Layout(inward=apart("q_proj", "k_proj", "v_proj"), output="out_proj", head_dim="head_dim", settle=settle_bart)
PACKED = Layout(inward={"query_key_value": "qkv"}, output="output", head_dim="head_dim", settle=settle_ours)
DISTILBERT = Layout(
    inward=apart("q_lin", "k_lin", "v_lin"), output="out_lin", head_dim="attention_head_size", settle=settle_distilbert
)
GPT2 = Layout(inward={"q_attn": "q", "c_attn": "qkv"}, output="c_proj", head_dim="head_dim", settle=settle_gpt2)
T5 = Layout(
    inward=apart("q", "k", "v"), output="o", head_dim="key_value_proj_dim", settle=settle_t5, shares_bias="T5Stack"
)
VIT = Layout(inward=apart("q_proj", "k_proj", "v_proj"), output="o_proj", head_dim="head_dim", settle=settle_vit)
LLAMA = Layout(inward=apart("q_proj", "k_proj", "v_proj"), output="o_proj", head_dim="head_dim", settle=settle_llama)

LAYOUTS: dict[str, Layout] = {
    "regard.attention.heads.SelfAttention": PACKED,
    "regard.attention.rotary_heads.RotarySelfAttention": PACKED,
    "regard.attention.heads.CrossAttention": Layout(
        inward={"query": "q", "key_value": "kv"}, output="output", head_dim="head_dim", settle=settle_ours
    ),
    "transformers.models.bert.modeling_bert.BertSelfAttention": BERT,
    "transformers.models.bert.modeling_bert.BertCrossAttention": BERT,
    "transformers.models.roberta.modeling_roberta.RobertaSelfAttention": BERT,
    "transformers.models.roberta.modeling_roberta.RobertaCrossAttention": BERT,
    "transformers.models.electra.modeling_electra.ElectraSelfAttention": BERT,
    "transformers.models.electra.modeling_electra.ElectraCrossAttention": BERT,
    "transformers.models.distilbert.modeling_distilbert.DistilBertSelfAttention": DISTILBERT,
    "transformers.models.gpt2.modeling_gpt2.GPT2Attention": GPT2,
    "transformers.models.t5.modeling_t5.T5Attention": T5,
    "transformers.models.vit.modeling_vit.ViTAttention": VIT,
    "transformers.models.bart.modeling_bart.BartAttention": BART,
    "transformers.models.marian.modeling_marian.MarianAttention": BART,
    "transformers.models.llama.modeling_llama.LlamaAttention": LLAMA,
}


def layout_of(module: object) -> Layout | None:
    """Return where the heads of a module lie; None if its class is not in the table."""
    return LAYOUTS.get(f"{type(module).__module__}.{type(module).__qualname__}")
