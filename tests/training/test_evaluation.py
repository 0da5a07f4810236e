import math

import pytest
import torch

from regard.errors import DataError
from regard.training.evaluation import evaluating, measure
from tests.training.tiny import VALIDATION, TinyModel, objective

CPU = torch.device("cpu")


def test_loss_and_accuracy_are_means_over_all_tokens() -> None:
    torch.manual_seed(2)
    model = TinyModel().eval()
    found = measure(model, objective, VALIDATION, CPU)
    with torch.no_grad():
        losses = [objective(model, batch) for batch in VALIDATION]
    tokens = sum(loss.tokens for loss in losses)
    assert found["loss"] == pytest.approx(sum(float(loss.nll) for loss in losses) / tokens)
    assert found["accuracy"] == sum(int(loss.correct) for loss in losses) / tokens
    assert found["perplexity"] == math.exp(found["loss"])


def test_a_model_is_measured_in_evaluation_mode_and_left_as_it_was() -> None:
    model = TinyModel()
    model.mix.eval()  # a part that somebody has frozen
    assert measure(model, objective, VALIDATION, CPU) == measure(model, objective, VALIDATION, CPU)
    assert model.training
    assert model.dropout.training
    assert not model.mix.training
    assert model.seen == 0


def test_modes_come_back_after_an_error() -> None:
    model = TinyModel()

    def work() -> None:
        with evaluating(model):
            assert not model.dropout.training
            raise RuntimeError("work")

    with pytest.raises(RuntimeError, match="work"):
        work()
    assert model.dropout.training


def test_a_loss_beyond_all_bounds_has_an_infinite_perplexity() -> None:
    model = TinyModel()
    with torch.no_grad():
        model.output.bias.copy_(torch.linspace(0, 1e4, 13))
    assert measure(model, objective, VALIDATION, CPU)["perplexity"] == math.inf


def test_nothing_to_measure_is_named() -> None:
    with pytest.raises(DataError, match="The validation set has no target token"):
        measure(TinyModel(), objective, [], CPU)
