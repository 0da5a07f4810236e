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

from regard.attention.autocast import autocasts
from regard.errors import OptionError, ShapeError


def mapped(linear: nn.Linear, name: str, tensor: Tensor) -> Tensor:
    """Map a tensor, or say how it differs from what the score was built for."""
    weight = linear.weight
    if tensor.shape[-1] != weight.shape[1]:
        raise ShapeError(f"{name} has width {tensor.shape[-1]} and the score was built for width {weight.shape[1]}.")
    if tensor.device != weight.device or (tensor.dtype != weight.dtype and not autocasts(tensor)):
        raise ShapeError(
            f"{name} is {tensor.dtype} on {tensor.device} and the score is {weight.dtype} on {weight.device}; "
            "they must agree. Convert one with .to(...)."
        )
    return linear(tensor)  # type: ignore[no-any-return]


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

    def check(self, query: Float[Tensor, "B H Q E"], key: Float[Tensor, "B G K F"]) -> None:
        """Raise if a prepared query and key do not fit each other; a score that maps both wants nothing more."""

    def pair(
        self, query: Float[Tensor, "B H Q E"], key: Float[Tensor, "B H K E"], positions: Positions
    ) -> Float[Tensor, "B H Q K"]:
        """Score every prepared query with every prepared key, before the scale."""
        raise NotImplementedError


def check_widths(query_dim: int, key_dim: int) -> None:
    """Raise if query and key, which a score compares column by column, differ in width."""
    if query_dim != key_dim:
        raise ShapeError(
            f"query has width {query_dim} and key {key_dim} where they are compared column by column; they must agree. "
            "The scores General and Additive take any two widths."
        )


class Dot(Score):
    """The product: q . k (Luong et al. 2015, 3.1)."""

    product = True

    def check(self, query: Float[Tensor, "B H Q E"], key: Float[Tensor, "B G K F"]) -> None:
        """Want one width."""
        check_widths(query.shape[-1], key.shape[-1])

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
        return 1.0 / math.sqrt(head_dim or 1)  # products of width 0 are 0, whatever the scale


class General(Dot):
    """The bilinear form: q W k (Luong et al. 2015, 3.1). Query and key may differ in width."""

    def __init__(self, query_dim: int, key_dim: int) -> None:
        super().__init__()
        self.weight = nn.Linear(query_dim, key_dim, bias=False)

    def prepare_query(self, query: Float[Tensor, "B H Q D"]) -> Float[Tensor, "B H Q E"]:
        """Map the query into the space of the keys."""
        return mapped(self.weight, "query", query)

    def prepare_key(self, key: Float[Tensor, "B G K D"]) -> Float[Tensor, "B G K D"]:
        """Check the width."""
        if key.shape[-1] != self.weight.out_features:
            raise ShapeError(
                f"key has width {key.shape[-1]} and the score was built for width {self.weight.out_features}."
            )
        return key


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
        return mapped(self.query, "query", query)

    def prepare_key(self, key: Float[Tensor, "B G K D"]) -> Float[Tensor, "B G K E"]:
        """Compute U k."""
        return mapped(self.key, "key", key)

    def pair(
        self, query: Float[Tensor, "B H Q E"], key: Float[Tensor, "B H K E"], positions: Positions
    ) -> Float[Tensor, "B H Q K"]:
        """Compute v . tanh(...)."""
        together = torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3))  # [B H Q K E]
        return nn.functional.linear(together, self.vector.weight.to(together.dtype)).squeeze(-1)


class Location(Score):
    """A score of the key's position alone, not of its content: (W q)_i for key i (Luong et al. 2015, eq. 8)."""

    def __init__(self, query_dim: int, max_length: int) -> None:
        super().__init__()
        self.max_length = max_length
        self.weight = nn.Linear(query_dim, max_length, bias=False)

    def prepare_query(self, query: Float[Tensor, "B H Q D"]) -> Float[Tensor, "B H Q E"]:
        """Score all positions that this score was built for."""
        return mapped(self.weight, "query", query)

    def prepare_key(self, key: Float[Tensor, "B G K D"]) -> Float[Tensor, "B G K E"]:
        """Refuse more keys than this score was built for."""
        self.check_length(key.shape[2])
        return key

    def pair(
        self, query: Float[Tensor, "B H Q L"], key: Float[Tensor, "B H K D"], positions: Positions
    ) -> Float[Tensor, "B H Q K"]:
        """Pick the scores of the positions that there are."""
        self.check_length(key.shape[2])  # a cache may have brought it more keys than it prepared at once
        return query.index_select(-1, positions.key)

    def check_length(self, keys: int) -> None:
        """Raise if there are more keys than this score was built for."""
        if keys > self.max_length:
            raise ShapeError(
                f"The location score was built for at most {self.max_length} keys and was given {keys}. "
                "Shorten the source, build it with a larger max_length, or use a score that reads the keys."
            )


class Relative(Score):
    """The scaled product, keys moved by the distance: q . (k + w_(j - i)) / sqrt(D) (Shaw et al. 2018, eq. 4).

    A vector w is learned for each distance; those beyond `reach` share one on each side (3.2), and all heads share all.
    The products of a query with the vectors are taken once, and then chosen from (3.3). This is the paper's part for
    keys; its second set of vectors is added to the values, which is no score's business.
    """

    def __init__(self, head_dim: int, reach: int) -> None:
        super().__init__()
        if reach < 0:
            raise OptionError(f"reach of relative positions must be 0 or more; it is {reach}.")
        self.reach = reach
        self.vectors = nn.Linear(head_dim, 2 * reach + 1, bias=False)

    def scale(self, head_dim: int) -> float:
        """Divide by the root of the width."""
        return 1.0 / math.sqrt(head_dim or 1)  # products of width 0 are 0, whatever the scale

    def prepare_query(self, query: Float[Tensor, "B H Q D"]) -> Float[Tensor, "B H Q E"]:
        """Append the products with all vectors, from `reach` back to `reach` ahead."""
        return torch.cat((query, mapped(self.vectors, "query", query).to(query.dtype)), dim=-1)

    def check(self, query: Float[Tensor, "B H Q E"], key: Float[Tensor, "B G K F"]) -> None:
        """Want one width, before the products were appended."""
        check_widths(query.shape[-1] - self.vectors.out_features, key.shape[-1])

    def pair(
        self, query: Float[Tensor, "B H Q E"], key: Float[Tensor, "B H K D"], positions: Positions
    ) -> Float[Tensor, "B H Q K"]:
        """Multiply, and add what was computed for the distance."""
        scores = query[..., : key.shape[-1]] @ key.transpose(-2, -1)
        distance = (positions.key - positions.query.unsqueeze(-1)).clamp(-self.reach, self.reach)  # [Q K]
        by_distance = query[..., key.shape[-1] :]  # [B H Q 2*reach+1]
        return scores + by_distance.gather(-1, (distance + self.reach).expand(scores.shape))


class Cosine(Dot):
    """The cosine, sharpened: strength * cos(q, k) (Graves et al. 2014, eq. 5 and 6).

    A query or key of length zero has the cosine 0 with everything.
    """

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        if not 0 < strength < math.inf:
            raise OptionError(f"The strength of a cosine score must be a number above 0; it is {strength}.")
        self.strength = strength

    def scale(self, head_dim: int) -> float:
        """Return the strength."""
        return self.strength

    def prepare_query(self, query: Float[Tensor, "B H Q D"]) -> Float[Tensor, "B H Q E"]:
        """Bring to length 1."""
        return direction(query)

    def prepare_key(self, key: Float[Tensor, "B G K D"]) -> Float[Tensor, "B G K E"]:
        """Bring to length 1."""
        return direction(key)


def direction(vectors: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
    """Bring vectors to length 1; those of length 0 stay, and their gradient stays finite."""
    length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return torch.div(vectors, length.masked_fill(length == 0, 1.0))
