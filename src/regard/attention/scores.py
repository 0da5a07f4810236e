"""Scores: how alike a query and a key are.

A score is three pure functions. `prepare_query` and `prepare_key` do what concerns one side alone, once;
`pair` does the rest for every query with every key. Where `pair` is a plain product of what was prepared
(`product` is true), every way that computes products can run it.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.errors import OptionError, ShapeError


class Positions(NamedTuple):
    """Where the queries and the keys of a call stand."""

    query: Int[Tensor, "Q"]
    key: Int[Tensor, "K"]


class Score(nn.Module):
    """How alike a query and a key are.

    Attributes:
        product: Whether `pair` is the plain product of the prepared query and key, so that fast kernels can run it.
    """

    product = False

    def scale(self, head_dim: int) -> float:
        """Return what the scores are multiplied by, for queries of this width."""
        return 1.0

    def prepare_query(self, query: Float[Tensor, "B H Q D"]) -> Float[Tensor, "B H Q E"]:
        """Do what concerns the query alone."""
        return query

    def prepare_key(self, key: Float[Tensor, "B G K D"]) -> Float[Tensor, "B G K E"]:
        """Do what concerns the key alone."""
        return key

    def pair(
        self, query: Float[Tensor, "B H Q E"], key: Float[Tensor, "B H K E"], positions: Positions
    ) -> Float[Tensor, "B H Q K"]:
        """Score every prepared query with every prepared key, before the scale."""
        raise NotImplementedError


class Dot(Score):
    """The product: q . k (Luong et al. 2015, 3.1)."""

    product = True

    def pair(
        self, query: Float[Tensor, "B H Q E"], key: Float[Tensor, "B H K E"], positions: Positions
    ) -> Float[Tensor, "B H Q K"]:
        """Multiply."""
        return query @ key.transpose(-2, -1)


class ScaledDot(Dot):
    """The product divided by the root of the width: q . k / sqrt(D) (Vaswani et al. 2017, eq. 1).

    Its variance is 1 where the components of q and k are independent with variance 1.
    """

    def scale(self, head_dim: int) -> float:
        """Divide by the root of the width."""
        return 1.0 / math.sqrt(head_dim)


class General(Dot):
    """The bilinear form: q W k (Luong et al. 2015, 3.1). Query and key may differ in width."""

    def __init__(self, query_dim: int, key_dim: int) -> None:
        super().__init__()
        self.weight = nn.Linear(query_dim, key_dim, bias=False)

    def prepare_query(self, query: Float[Tensor, "B H Q D"]) -> Float[Tensor, "B H Q E"]:
        """Map the query into the space of the keys."""
        return self.weight(query)  # type: ignore[no-any-return]


class Additive(Score):
    """A small network: v . tanh(W q + U k) (Bahdanau et al. 2015, A.1.2).

    Luong's `concat`, v . tanh(W [q; k]) with W cut in two, is the same function. There are no offsets, as in the paper.
    """

    def __init__(self, query_dim: int, key_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_dim, hidden_dim, bias=False)
        self.key = nn.Linear(key_dim, hidden_dim, bias=False)
        self.vector = nn.Linear(hidden_dim, 1, bias=False)

    def prepare_query(self, query: Float[Tensor, "B H Q D"]) -> Float[Tensor, "B H Q E"]:
        """Compute W q."""
        return self.query(query)  # type: ignore[no-any-return]

    def prepare_key(self, key: Float[Tensor, "B G K D"]) -> Float[Tensor, "B G K E"]:
        """Compute U k."""
        return self.key(key)  # type: ignore[no-any-return]

    def pair(
        self, query: Float[Tensor, "B H Q E"], key: Float[Tensor, "B H K E"], positions: Positions
    ) -> Float[Tensor, "B H Q K"]:
        """Compute v . tanh(...)."""
        together = torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3))  # [B H Q K E]
        return self.vector(together).squeeze(-1)  # type: ignore[no-any-return]


class Location(Score):
    """A score of the key's position alone, not of its content: (W q)_i for key i (Luong et al. 2015, eq. 8)."""

    def __init__(self, query_dim: int, max_length: int) -> None:
        super().__init__()
        self.max_length = max_length
        self.weight = nn.Linear(query_dim, max_length, bias=False)

    def prepare_query(self, query: Float[Tensor, "B H Q D"]) -> Float[Tensor, "B H Q E"]:
        """Score all positions that this score was built for."""
        return self.weight(query)  # type: ignore[no-any-return]

    def prepare_key(self, key: Float[Tensor, "B G K D"]) -> Float[Tensor, "B G K E"]:
        """Refuse more keys than this score was built for."""
        if key.shape[-2] > self.max_length:
            raise ShapeError(
                f"The location score was built for at most {self.max_length} keys and was given {key.shape[-2]}. "
                "Shorten the source, build it with a larger max_length, or use a score that reads the keys."
            )
        return key

    def pair(
        self, query: Float[Tensor, "B H Q E"], key: Float[Tensor, "B H K E"], positions: Positions
    ) -> Float[Tensor, "B H Q K"]:
        """Pick the scores of the positions that there are."""
        return query.index_select(-1, positions.key)


class Cosine(Dot):
    """The cosine, sharpened: strength * cos(q, k) (Graves et al. 2014, eq. 5 and 6).

    A query or key of length zero has the cosine 0 with everything.
    """

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        if not strength > 0:
            raise OptionError(f"The strength of a cosine score must be above 0; it is {strength}.")
        self.strength = strength

    def scale(self, head_dim: int) -> float:
        """Return the strength."""
        return self.strength

    def prepare_query(self, query: Float[Tensor, "B H Q D"]) -> Float[Tensor, "B H Q E"]:
        """Bring to length 1."""
        return nn.functional.normalize(query, dim=-1)

    def prepare_key(self, key: Float[Tensor, "B G K D"]) -> Float[Tensor, "B G K E"]:
        """Bring to length 1."""
        return nn.functional.normalize(key, dim=-1)
