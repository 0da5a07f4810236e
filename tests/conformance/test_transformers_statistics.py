"""Running statistics over models of the library transformers: padding changes none of them."""

from typing import Any

import pytest
import torch

from regard.inspection.lens import lens
from regard.inspection.statistics.running import RunningStatistics
from tests.conformance.test_transformers_lens import AT_END, TOKENS, built, eager

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.mark.parametrize("family", ["Bert", "Roberta", "DistilBert", "GPT2", "Llama", "T5"])
def test_a_padded_batch_has_the_statistics_of_its_sentences(family: str) -> None:
    model: Any = built(family)
    model = model.encoder if family == "T5" else model  # it adds its mask to its bias
    together, apart = RunningStatistics(), RunningStatistics()
    with torch.no_grad():
        with lens(model, keep=together):
            model(input_ids=TOKENS, attention_mask=AT_END)
        for row, mask in zip(TOKENS, AT_END, strict=True):
            with lens(model, keep=apart):
                model(input_ids=row[None, : mask.sum()])
    assert list(together) == list(apart)
    assert len(together) == 2
    for name in together:
        for what in together[name].names:
            assert torch.equal(together[name].number(what), apart[name].number(what)), what
            assert torch.allclose(together[name].mean(what), apart[name].mean(what), atol=1e-5), (name, what)


def test_entropies_are_those_of_the_weights_that_eager_attention_returns() -> None:
    model: Any = built("Bert")
    running = RunningStatistics()
    with torch.no_grad():
        with lens(model, keep=running):
            model(input_ids=TOKENS[:1])
        maps = eager(model)(input_ids=TOKENS[:1], output_attentions=True).attentions
    for site, weights in zip(running.values(), maps, strict=True):
        entropy = -torch.xlogy(weights, weights).sum(-1).mean((0, 2))
        assert torch.allclose(site.mean("entropy"), entropy.double(), atol=1e-5)
