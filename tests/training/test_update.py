import pytest
import torch

from regard.errors import DivergedError, WorkError
from regard.training.feed import Place
from regard.training.update import Fault, is_out_of_memory


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 7 bytes."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_want_of_memory_is_told_from_other_errors(error: Exception, memory: bool) -> None:
    assert is_out_of_memory(error) == memory


def test_a_real_want_of_memory_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55)
    assert is_out_of_memory(caught.value)


def test_a_fault_names_batches_and_examples() -> None:
    batches = [(Place(0, 2), (3, 5, 7)), (Place(1, 0), tuple(range(11, 19)))]
    assert str(Fault("the loss is nan", batches, out_of_memory=False)) == (
        "the loss is nan in batch 3 of epoch 1 (examples 3, 5, 7), "
        "batch 1 of epoch 2 (examples 11, 12, 13, 14, 15 and 3 more)"
    )


def test_the_error_at_the_end_says_what_to_do() -> None:
    batches = [(Place(0, 2), (3,))]
    diverged = Fault("the loss is nan", batches, out_of_memory=False).give_up(17, 5)
    assert isinstance(diverged, DivergedError)
    assert str(diverged).startswith("5 updates in a row changed nothing, the last of them update 17: the loss is nan")
    memory = Fault("there is not enough memory (x)", batches, out_of_memory=True).give_up(17, 5)
    assert isinstance(memory, WorkError)
    assert str(memory).endswith("Train with fewer tokens in a batch and accumulate more batches.")
