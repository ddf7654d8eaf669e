"""Options: what turns q and k into scores, and which of them count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor
from torch._subclasses import FakeTensor


class Options(NamedTuple):
    """Everything about attention but q, k and v.

    Query i of a document of S_q queries and S_k keys stands at the place `i + S_k - S_q` among the keys, so that the
    last query stands at the last key. It sees the keys from `left` before that place to `right` after it.

    Attributes:
        scale: What q kᵀ is multiplied by.
        softcap: c, where scores are `c * tanh(scale * q kᵀ / c)`; 0 where they are `scale * q kᵀ`.
        left: How many keys before its place a query sees, or None for all.
        right: How many keys after its place a query sees, or None for all; 0 under a causal mask.
        cu_seqlens_q: [N + 1] int32, where each of N documents begins among the queries, and where the last one ends;
            None for one document in each entry of the batch.
        cu_seqlens_k: The same among the keys; None together with `cu_seqlens_q`.
    """

    scale: float
    softcap: float = 0.0
    left: int | None = None
    right: int | None = None
    cu_seqlens_q: Tensor | None = None
    cu_seqlens_k: Tensor | None = None

    @classmethod
    def of(
        cls,
        causal: bool,
        scale: float,
        window_left: int | None = None,
        window_right: int | None = None,
        softcap: float = 0.0,
        cu_seqlens_q: Tensor | None = None,
        cu_seqlens_k: Tensor | None = None,
    ) -> Options:
        """From the arguments of the registered ops: a causal mask is a window that ends at the query's own place."""
        right = 0 if causal else window_right
        cu_seqlens_k = cu_seqlens_q if cu_seqlens_k is None else cu_seqlens_k
        return cls(scale, softcap, window_left, right, cu_seqlens_q, cu_seqlens_k)

    @property
    def lengths_are_known(self) -> bool:
        """Whether the documents' offsets, if there are any, have values."""
        return all(has_values(offsets) for offsets in (self.cu_seqlens_q, self.cu_seqlens_k) if offsets is not None)

    def documents(self, s_q: int, s_k: int) -> Iterator[tuple[slice, slice]]:
        """The queries and the keys of each document."""
        if self.cu_seqlens_q is None or self.cu_seqlens_k is None:
            yield slice(0, s_q), slice(0, s_k)
            return
        ends_q, ends_k = self.cu_seqlens_q.tolist(), self.cu_seqlens_k.tolist()
        for index in range(len(ends_q) - 1):
            yield slice(*ends_q[index : index + 2]), slice(*ends_k[index : index + 2])

    def visible_pairs(self, s_q: int, s_k: int) -> int:
        """The number of (query, key) pairs that a score is needed for.

        Args:
            s_q: The number of queries of all documents.
            s_k: The number of keys of all documents.
        """
        return sum(
            self._pairs(queries.stop - queries.start, keys.stop - keys.start)
            for queries, keys in self.documents(s_q, s_k)
        )

    def _pairs(self, s_q: int, s_k: int) -> int:
        def up_to(right: int | None) -> int:
            """How many pairs there are if no query sees further than that."""
            if right is None:
                return s_q * s_k
            # query i sees that many keys more than i, at least none and at most all
            more = s_k - s_q + right + 1
            return _staircase(more + s_q, s_k) - _staircase(more, s_k)

        hidden = 0 if self.left is None else up_to(-self.left - 1)
        return up_to(self.right) - hidden


def has_values(tensor: Tensor) -> bool:
    """Whether a tensor is more than a shape: neither on meta nor fake."""
    return not (tensor.is_meta or isinstance(tensor, FakeTensor))


def _staircase(n: int, limit: int) -> int:
    """The sum of `min(i, limit)` for i from 0 to n - 1."""
    n = max(n, 0)
    rising = min(n, limit)
    return rising * (rising - 1) // 2 + (n - rising) * limit
