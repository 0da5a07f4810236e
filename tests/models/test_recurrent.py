"""The RNN encoder-decoder over the grid of its parts: steps, padding, company, beams, gradients, refusals."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from regard.attention.attend import Attention
from regard.errors import InputError, OptionError, ShapeError
from regard.layers.recurrent import CellKind
from regard.models.recurrent import Recurrent, RecurrentConfig
from tests.watching import watching, weights_of

SOURCE_VOCAB, TARGET_VOCAB = 17, 13
LENGTHS = [5, 2, 7]
T = 5


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=1e-12)


CELLS: list[CellKind] = ["rnn", "gru", "lstm"]
SCORES = ["dot", "scaled_dot", "general", "additive", "concat", "location", "cosine"]
WINDOWS = ["global", "local_m", "local_p"]
FIXED: list[dict[str, Any]] = [
    {"attention": "none", "context": context, "context_fed": fed}
    for context, fed in itertools.product(["last", "mean"], ["once", "each"])
]
BAHDANAU: list[dict[str, Any]] = [{"attention": "bahdanau", "score": score} for score in SCORES]
LUONG: list[dict[str, Any]] = [
    {"attention": "luong", "score": score, "window": window, "input_feeding": feeding}
    | ({} if window == "global" else {"reach": 2})
    for score, window, feeding in itertools.product(SCORES, WINDOWS, [False, True])
]
DECODERS = FIXED + BAHDANAU + LUONG
SOME: list[dict[str, Any]] = [
    *FIXED,
    {"attention": "bahdanau", "score": "additive"},
    {"attention": "luong", "score": "general", "window": "local_p", "reach": 2},
    {"attention": "luong", "score": "location", "window": "local_m", "reach": 2, "input_feeding": True},
]


def name(options: dict[str, Any]) -> str:
    return "-".join(str(value) for key, value in options.items() if key != "reach")


def config(options: dict[str, Any]) -> RecurrentConfig:
    sizes: dict[str, Any] = {"model_dim": 3, "hidden_dim": 10, "encoder_hidden_dim": 5, "share": "none", "dropout": 0.0}
    if not options.get("bidirectional", True):
        sizes["encoder_hidden_dim"] = 10
    if options.get("score") == "location":
        sizes["max_length"] = 11
    return RecurrentConfig(**(sizes | options))


def build(options: dict[str, Any], seed: int = 3) -> Recurrent:
    torch.manual_seed(seed)
    model = Recurrent(config(options), source_vocab=SOURCE_VOCAB, target_vocab=TARGET_VOCAB).double()
    for key, parameter in model.named_parameters():
        if "bias" in key:
            torch.nn.init.normal_(parameter)
    return model.eval()


def source(lengths: list[int], padded: int | None = None) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    rows = torch.randint(3, SOURCE_VOCAB, (len(lengths), padded or max(lengths)), generator=generator)
    for row, length in zip(rows, lengths, strict=True):
        row[length:] = 0
    return rows, torch.tensor(lengths)


def target(batch: int = len(LENGTHS), steps: int = T, seed: int = 7) -> Tensor:
    return torch.randint(1, TARGET_VOCAB, (batch, steps), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", DECODERS, ids=name)
def test_steps_equal_the_whole(options: dict[str, Any], cell: CellKind) -> None:
    for bidirectional, encoder_layers, decoder_layers in [(True, 1, 1), (False, 2, 3), (True, 2, 1)]:
        shape = {"bidirectional": bidirectional, "encoder_layers": encoder_layers, "decoder_layers": decoder_layers}
        model = build(options | shape | {"cell": cell})
        with torch.inference_mode():
            encoded = model.encode(*source(LENGTHS))
            whole = model.decode(encoded, target())
            state = model.start(encoded)
            steps = [model.step(tokens.unsqueeze(1), state) for tokens in target().unbind(1)]
        assert whole.shape == (3, T, 3)
        close(torch.cat(steps, dim=1), whole)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", DECODERS, ids=name)
def test_padding_and_company_change_nothing(options: dict[str, Any], cell: CellKind) -> None:
    model = build(options | {"cell": cell, "encoder_layers": 2})
    rows, lengths = source(LENGTHS, padded=11)
    with torch.inference_mode():
        together = model(rows, lengths, target())
        rows[1, 2:] = 16  # what stands on padding is never read
        assert torch.equal(model(rows, lengths, target()), together)
        for b, length in enumerate(LENGTHS):
            alone = model(rows[b : b + 1, :length], lengths[b : b + 1], target()[b : b + 1])
            close(alone[0], together[b])


@pytest.mark.parametrize("options", SOME, ids=name)
@pytest.mark.parametrize("batch", [1, 64])
def test_batches_of_one_and_of_many_agree(options: dict[str, Any], batch: int) -> None:
    model = build(options)
    lengths = [1 + (7 * b) % 11 for b in range(batch)]
    rows, counts = source(lengths)
    with torch.inference_mode():
        together = model(rows, counts, target(batch))
        for b in {0, batch // 2, batch - 1}:
            alone = model(rows[b : b + 1, : lengths[b]], counts[b : b + 1], target(batch)[b : b + 1])
            close(alone[0], together[b])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", DECODERS, ids=name)
def test_every_parameter_gets_a_gradient(options: dict[str, Any], cell: CellKind) -> None:
    model = build(options | {"cell": cell, "encoder_layers": 2, "decoder_layers": 2})
    model.output(model(*source(LENGTHS), target())).logsumexp(-1).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert (parameter.grad != 0).any(), key


@pytest.mark.parametrize("options", SOME, ids=name)
def test_a_row_is_computed_from_the_tokens_up_to_it(options: dict[str, Any]) -> None:
    model = build(options)
    before, after = target(), target()
    after[:, 3] = (after[:, 3] + 1) % TARGET_VOCAB
    with torch.inference_mode():
        one, other = (model(*source(LENGTHS), tokens) for tokens in (before, after))
    assert torch.equal(one[:, :3], other[:, :3])
    assert (one[:, 3:] != other[:, 3:]).any(dim=-1).all()


@pytest.mark.parametrize("options", BAHDANAU + LUONG, ids=name)
def test_weights_sum_to_one_within_the_sentence_and_the_window(options: dict[str, Any]) -> None:
    model = build(options)
    with watching() as calls, torch.inference_mode():
        model(*source(LENGTHS), target())
    one_by_one = options["attention"] == "bahdanau" or options["input_feeding"]
    assert len(calls) == (T if one_by_one else 1)
    weights = weights_of(calls)
    assert weights.shape == (3, T, 7)
    allowed = (torch.arange(7) < torch.tensor(LENGTHS)[:, None, None]).expand_as(weights)
    if options.get("window") == "local_m":
        allowed = allowed & ((torch.arange(7) - torch.arange(T)[:, None]).abs() <= 2)
    assert (weights[~allowed] == 0).all()
    close(weights.sum(-1), allowed.any(-1).double())
    if options.get("window") == "local_p":
        assert ((weights > 0).sum(-1) <= 5).all()  # twice the reach and the middle
    else:
        assert ((weights > 0) == allowed).all()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", SOME, ids=name)
@pytest.mark.parametrize("spread", [False, True], ids=["several-from-the-start", "spread-by-reordering"])
def test_beams_equal_separate_histories(options: dict[str, Any], cell: CellKind, spread: bool) -> None:
    model = build(options | {"cell": cell, "decoder_layers": 2})
    generator = torch.Generator().manual_seed(11)
    with torch.inference_mode():
        encoded = model.encode(*source(LENGTHS))
        state = model.start(encoded)
        width = 1 if spread else 2
        histories: list[list[list[int]]] = [[[] for _ in range(width)] for _ in LENGTHS]
        rows = list(range(len(LENGTHS)))
        for step in range(6):
            tokens = torch.randint(1, TARGET_VOCAB, (len(rows), width), generator=generator)
            out = model.step(tokens, state)
            for b, w in itertools.product(range(len(rows)), range(width)):
                histories[b][w] = [*histories[b][w], int(tokens[b, w])]
                alone = model.decode(
                    model.encode(*(x[rows[b] : rows[b] + 1] for x in source(LENGTHS))), torch.tensor([histories[b][w]])
                )
                close(out[b, w], alone[0, -1])
            parents = torch.randint(0, width, (len(rows), 2), generator=generator)
            state.reorder(parents)
            histories = [[history[w] for w in row] for history, row in zip(histories, parents.tolist(), strict=True)]
            width = 2
            if step == 2:
                state.keep(torch.tensor([2, 0]))
                rows, histories = [2, 0], [histories[2], histories[0]]


@pytest.mark.parametrize("options", SOME, ids=name)
def test_the_alignment_site_is_the_module_that_attends(options: dict[str, Any]) -> None:
    model = build(options)
    assert model.alignment_sites() == ([] if options["attention"] == "none" else ["decoder.attention"])
    for site in model.alignment_sites():
        assert isinstance(model.get_submodule(site), Attention)


def test_beams_ask_one_memory() -> None:
    model = build({"attention": "bahdanau"})
    with watching() as calls, torch.inference_mode():
        state = model.start(model.encode(*source(LENGTHS)))
        model.step(target(steps=2), state)
        model.step(target(steps=2), state)
    assert [call.query.shape[:3] for call in calls] == [(3, 1, 2)] * 2
    assert [call.key.shape[:3] for call in calls] == [(3, 1, 7)] * 2
    assert calls[0].key is calls[1].key


@pytest.mark.parametrize("share", ["all", "target", "none"])
def test_shared_matrices_are_one_tensor(share: Any) -> None:
    model = Recurrent(replace(config({}), share=share), source_vocab=17, target_vocab=17)
    assert (model.source_embedding.weight is model.target_embedding.weight) == (share == "all")
    assert (model.output.weight is model.target_embedding.weight) == (share != "none")
    assert model.output(model(*source([5]), target(1))).shape == (1, T, 17)


def test_dropout_acts_in_training_only() -> None:
    model = build({"attention": "bahdanau", "decoder_layers": 2, "dropout": 0.3, "attention_dropout": 0.2})
    batch = (*source(LENGTHS), target())
    assert torch.equal(model(*batch), model(*batch))
    model.train()
    assert not torch.equal(model(*batch), model(*batch))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", SOME, ids=name)
def test_bfloat16_stays_near_float32_and_trains(options: dict[str, Any], cell: CellKind) -> None:
    model = build(options | {"cell": cell, "decoder_layers": 2}).float()
    wide = model(*source(LENGTHS), target())
    half = model.bfloat16()
    narrow = half(*source(LENGTHS), target())
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float(), wide, rtol=0.0, atol=0.1)
    narrow.float().sum().backward()
    assert all(
        p.grad is not None and torch.isfinite(p.grad).all() for k, p in half.named_parameters() if "output" not in k
    )


@pytest.mark.parametrize("options", SOME, ids=name)
def test_autocast_stays_near_float32_and_trains(options: dict[str, Any]) -> None:
    model = build(options).float()
    wide = model(*source(LENGTHS), target())
    with torch.autocast("cpu", torch.bfloat16):
        narrow = model(*source(LENGTHS), target())
    torch.testing.assert_close(narrow.float(), wide, rtol=0.0, atol=0.1)
    narrow.float().sum().backward()


def test_the_shapes_are_those_of_the_textbook() -> None:
    """Dive into Deep Learning, 10.7 and 11.4: vocabulary 10, embedded by 8 numbers, two layers of 16."""
    shape = RecurrentConfig(
        model_dim=8, hidden_dim=16, bidirectional=False, encoder_layers=2, decoder_layers=2, share="none"
    )
    model = Recurrent(shape, source_vocab=10, target_vocab=10).eval()
    encoded = model.encode(torch.zeros(4, 7, dtype=torch.int64), torch.full((4,), 7))
    assert encoded.states.shape == (4, 7, 16)
    assert encoded.final is not None
    assert encoded.final.shape == (2, 4, 16)
    state = model.start(encoded)
    assert state.progress.hidden.shape == (2, 4, 1, 16)
    assert model.output(model.decode(encoded, torch.zeros(4, 7, dtype=torch.int64))).shape == (4, 7, 10)


def test_the_final_state_of_an_lstm_holds_its_cells_too() -> None:
    final = build({"cell": "lstm", "encoder_layers": 2}).encode(*source(LENGTHS)).final
    assert final is not None
    assert final.shape == (4, 3, 10)


def test_a_source_longer_than_the_location_score_is_refused() -> None:
    model = build({"attention": "luong", "score": "location"})
    assert model.max_source == 11
    assert model(*source([11]), target(1)).shape == (1, T, 3)
    with pytest.raises(ShapeError, match="built for at most 11 keys and was given 13"):
        model(*source([13]), target(1))


def test_a_batch_without_a_sentence_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"source has no sentence; a batch needs at least 1\."):
        build({}).encode(torch.zeros(0, 7, dtype=torch.long), torch.zeros(0, dtype=torch.long))


@pytest.mark.parametrize(("length", "told"), [(0, "from 0 to 7"), (8, "from 5 to 8")])
def test_lengths_that_a_source_cannot_have_are_refused(length: int, told: str) -> None:
    rows, _ = source(LENGTHS)
    with pytest.raises(ShapeError, match=f"source_lengths goes {told} and source has 7 tokens a sentence"):
        build({}).encode(rows, torch.tensor([5, length, 7]))


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (
            {"attention": "bahdanau", "window": "local_m"},
            [
                "window='local_m' needs attention='luong', and attention is 'bahdanau'. "
                "Set attention='luong', or leave window at 'global'."
            ],
        ),
        (
            {"attention": "none", "input_feeding": True, "score": "dot"},
            [
                "score='dot' needs attention='bahdanau' or attention='luong', and attention is 'none'. "
                "Set attention='bahdanau' or attention='luong', or leave score at 'additive'.",
                "input_feeding=True needs attention='luong', and attention is 'none'. "
                "Set attention='luong', or leave input_feeding at False.",
            ],
        ),
        (
            {"attention": "luong", "context": "mean", "context_fed": "each"},
            [
                "context='mean' needs attention='none', and attention is 'luong'. "
                "Set attention='none', or leave context at 'last'.",
                "context_fed='each' needs attention='none', and attention is 'luong'. "
                "Set attention='none', or leave context_fed at 'once'.",
            ],
        ),
        (
            {"attention": "luong", "reach": 5, "max_length": 50, "cosine_strength": 2.0},
            [
                "cosine_strength=2.0 needs score='cosine', and score is 'additive'. "
                "Set score='cosine', or leave cosine_strength at 10.0.",
                "max_length=50 needs score='location', and score is 'additive'. "
                "Set score='location', or leave max_length at 256.",
                "reach=5 needs window='local_m' or window='local_p', and window is 'global'. "
                "Set window='local_m' or window='local_p', or leave reach at 10.",
            ],
        ),
        (
            {"attention": "luong", "score": "dot", "hidden_dim": 10, "encoder_hidden_dim": 10},
            [
                "score='dot' multiplies states of decoder and encoder, which must be of one width; hidden_dim is 10 "
                "and the encoder's states are 20 wide (2 of 10). Set hidden_dim=20, set encoder_hidden_dim to "
                "hidden_dim / 2, or use score='general' or score='additive'."
            ],
        ),
        (
            {"model_dim": 0, "decoder_layers": -1, "dropout": 1.0, "cell": "grue", "window": "local"},
            [
                "model_dim must be at least 1; it is 0.",
                "decoder_layers must be at least 1; it is -1.",
                "dropout must be at least 0 and below 1; it is 1.0.",
                "cell must be 'rnn' or 'gru' or 'lstm'; it is 'grue'.",
                "window must be 'global' or 'local_m' or 'local_p'; it is 'local'.",
            ],
        ),
        (
            {"score": "cosine", "encoder_hidden_dim": 7, "share": "all"},
            [
                "score='cosine' multiplies states of decoder and encoder, which must be of one width; hidden_dim is 10 "
                "and the encoder's states are 14 wide (2 of 7). Set hidden_dim=14, set encoder_hidden_dim to "
                "hidden_dim / 2, or use score='general' or score='additive'.",
                "share='all' needs one vocabulary for both sides; the source has 17 tokens and the target 13. "
                "Train a shared tokenizer, or use share='target' or share='none'.",
            ],
        ),
    ],
)
def test_what_cannot_be_is_refused_all_at_once(options: dict[str, Any], messages: list[str]) -> None:
    with pytest.raises(OptionError) as error:
        build(options)
    assert str(error.value).split("\n") == messages
    assert isinstance(error.value, InputError)


@pytest.mark.learning
def test_a_copy_of_five_tokens_is_learned() -> None:
    torch.manual_seed(1)
    shape = RecurrentConfig(model_dim=32, hidden_dim=32, dropout=0.0, share="all")
    model = Recurrent(shape, source_vocab=TARGET_VOCAB, target_vocab=TARGET_VOCAB)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    generator = torch.Generator().manual_seed(2)
    losses = []
    for _ in range(600):
        words = torch.randint(3, TARGET_VOCAB, (64, 5), generator=generator)
        end = torch.full((64, 1), 2)
        logits = model.output(
            model(torch.cat((words, end), 1), torch.full((64,), 6), torch.cat((torch.full((64, 1), 1), words), 1))
        )
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.cat((words, end), 1).flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) / 20 < 0.02


def test_a_source_is_read_where_a_mask_does_not_know_its_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """While torch.compile traces it does not."""
    model = Recurrent(RecurrentConfig(model_dim=11, hidden_dim=13), source_vocab=17, target_vocab=17).eval()
    source, lengths = torch.randint(3, 17, (2, 7)), torch.tensor([7, 5])
    expected = model.encode(source, lengths).states
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert torch.equal(model.encode(source, lengths).states, expected)
