"""A watch: whose calls it is shown, and from where to where."""

import threading
import types

import pytest
import torch
from torch import nn

from regard.attention import attend
from regard.errors import OptionError, WorkError
from regard.inspection.lens import lens
from tests.inspection.products import Products, tensors
from tests.inspection.test_lens import batch, transformer


def test_lenses_within_each_other_each_see_their_own_model() -> None:
    outer, inner = Products(), Products()
    both = nn.ModuleDict({"outer": outer, "inner": inner})
    with lens(both) as everything:
        with lens(inner) as some:
            outer(*tensors())
            inner(*tensors())
        inner(*tensors())
    assert (list(everything), len(everything["inner"])) == (["outer", "inner"], 2)
    assert (list(some), len(some[""])) == ([""], 1)


def test_other_threads_are_not_seen() -> None:
    model = Products()
    with lens(model) as seen:
        thread = threading.Thread(target=lambda: model(*tensors()))
        thread.start()
        thread.join()
    assert len(seen) == 0
    with pytest.raises(
        OptionError,
        match="opened it, and other threads are not watched, nor functions of attention that an object beside",
    ):
        seen["inner"]


def test_what_is_no_module_is_refused_with_the_one_that_it_holds() -> None:
    with pytest.raises(OptionError, match=r"must be a torch.nn.Module; it is of type function\.$"):
        lens(lambda given: given)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"it is of type SimpleNamespace\. Give its `model`\."):
        lens(types.SimpleNamespace(model=Products()))  # type: ignore[arg-type]


def test_other_models_are_not_seen() -> None:
    with lens(transformer()) as seen:
        transformer()(*batch())
    assert len(seen) == 0


def test_the_observer_leaves_when_the_model_fails() -> None:
    model = transformer()
    with pytest.raises(OptionError, match="tokens must lie between 0 and 12"), lens(model):
        model(torch.full((2, 3), 99), torch.tensor([3, 3]), torch.full((2, 3), 5))
    assert attend.observers == []


def test_a_lens_is_closed_once_and_begins_anew_where_it_is_opened_again() -> None:
    model = Products()
    seen = lens(model)
    with pytest.raises(WorkError, match=r"^This is not open: there is nothing to close\.$"):
        seen.__exit__(None, None, None)
    for calls in (2, 1):
        with seen:
            assert list(seen) == []
            for _ in range(calls):
                model(*tensors())
            with pytest.raises(WorkError, match=r"^This is open already\."):
                seen.__enter__()
        assert len(seen[""]) == calls
    assert attend.observers == []


def test_a_lens_that_is_opened_again_does_not_miss_what_ran_before() -> None:
    class SomeAttention(Products):
        pass

    model = nn.ModuleDict({"first": SomeAttention(), "second": SomeAttention()})
    with lens(model) as seen:
        model["first"](*tensors())
    with seen:
        model["second"](*tensors())
    assert list(seen) == ["second"]
