"""Hugging Face's Longformer, its self-attention alone: answers how many positions it took in how many seconds."""

import time

import torch
from answering import Line
from transformers import LongformerConfig
from transformers.models.longformer.modeling_longformer import LongformerSelfAttention


def main() -> None:
    """Run one call a request."""
    line = Line()
    while True:
        request = line.wait()
        torch.manual_seed(1)
        model_dim, length = int(request["heads"] * request["width"]), int(request["length"])
        config = LongformerConfig(
            hidden_size=model_dim,
            num_attention_heads=int(request["heads"]),
            attention_window=[int(request["window"])],
            num_hidden_layers=1,
            attention_probs_dropout_prob=0.0,
        )
        attention = LongformerSelfAttention(config, 0).eval()
        used = [part for name, part in attention.named_parameters() if "global" not in name]
        states, mask = torch.randn(1, length, model_dim), torch.zeros(1, length)
        started = time.perf_counter()
        with torch.set_grad_enabled(bool(request["gradient"])):
            context = attention(
                states,
                attention_mask=mask,
                is_index_masked=mask < 0,
                is_index_global_attn=mask > 0,
                is_global_attn=False,
            )[0]
            if request["gradient"]:
                torch.autograd.grad(context, used, context.detach())
        line.answer(tokens=length, seconds=time.perf_counter() - started)


if __name__ == "__main__":
    main()
