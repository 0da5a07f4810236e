from itertools import product
from typing import get_args

import pytest

from regard.data.tokenizer_format import Form, Kind, Split
from regard.data.tokenizers import Tokenizer, TokenizerConfig

CORPUS = [
    "The quick brown fox doesn't jump over the lazy dog in 1984.",
    "Le renard brun n'a pas sauté par-dessus l'homme d'à côté, hélas !",
    "deux gars , dont l&apos; un porte un chapeau , sautent d&apos; un escalier .",
    "Über den Fluß fuhren 12 Schiffe; İstanbul ve Iğdır.",
    "東京は日本の首都です。 Здравствуй, мир! \U0001f469\u200d\U0001f469\u200d\U0001f467",
] * 3

FORMS = [Form(*choice) for choice in product(get_args(Kind), get_args(Split), (False, True))]


def train(form: Form, lines: list[str] = CORPUS, vocab_size: int = 397) -> Tokenizer:
    kind, split, lowercase = form
    config = TokenizerConfig(kind=kind, split=split, lowercase=lowercase, vocab_size=vocab_size)
    return Tokenizer.train(lines, config)


@pytest.fixture(scope="session")
def tokenizers() -> dict[Form, Tokenizer]:
    """One trained tokenizer of each form."""
    return {form: train(form) for form in FORMS}


@pytest.fixture(params=FORMS, ids=lambda form: "-".join(map(str, form)))
def tokenizer(request: pytest.FixtureRequest, tokenizers: dict[Form, Tokenizer]) -> Tokenizer:
    return tokenizers[request.param]
