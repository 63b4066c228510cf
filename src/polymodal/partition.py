"""The partition of a representation: ordered gates that split its neurons into a uni and a paired part.

Source: PgM (arXiv 2507.11661), with the cumulative softmax of ON-LSTM (arXiv 1810.09536). The uni gate g_u
falls from 1 to 0 along the neurons (a soft prefix), the paired gate g_p rises from 0 to 1 (a soft suffix).
Where both are open a neuron is shared, where neither is it is unassigned.

Gates are learnt for chunks of neurons: over 768 single neurons a cumulative softmax of ordinary logits is
almost a straight line.

Letters: B rows, M modalities, D neurons, C neurons a chunk, K = D / C chunks, N tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from polymodal.errors import ConfigError

GateKind = Literal["row", "static", "sigmoid", "fixed", "open"]
"""How gates come about; see :class:`Partitioner`."""
SHARES = ("uni", "paired", "shared", "unassigned")
"""The four shares of a representation, in the order of :meth:`Gates.shares`."""


def cumsoftmax(logits: Tensor) -> Tensor:
    """cumsum(softmax(a)) over the last axis (..., K): rises from above 0 to 1, in [0, 1] to the last bit."""
    return logits.softmax(dim=-1).cumsum(dim=-1).clamp(max=1.0)


# ---- gates ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gates:
    """How far each chunk belongs to the uni part and to the paired part.

    Attributes:
        uni: g_u (..., K) in [0, 1].
        paired: g_p (..., K) in [0, 1].
    """

    uni: Tensor
    paired: Tensor

    @property
    def shared(self) -> Tensor:
        """g_s = g_u g_p, (..., K): in both parts."""
        return self.uni * self.paired

    @property
    def uni_only(self) -> Tensor:
        """g_u - g_s, (..., K)."""
        return self.uni - self.shared

    @property
    def paired_only(self) -> Tensor:
        """g_p - g_s, (..., K)."""
        return self.paired - self.shared

    @property
    def unassigned(self) -> Tensor:
        """(1 - g_u)(1 - g_p), (..., K): in neither part."""
        return (1 - self.uni) * (1 - self.paired)

    def shares(self) -> Tensor:
        """(..., 4): mean over the chunks of uni only, paired only, shared and unassigned; they sum to 1."""
        parts = (self.uni_only, self.paired_only, self.shared, self.unassigned)
        return torch.stack([part.mean(dim=-1) for part in parts], dim=-1)

    def hard(self) -> Gates:
        """Gates of 0 and 1: a chunk is in a part if its gate is at least 1/2, the widest open one always."""
        return Gates(_threshold(self.uni), _threshold(self.paired))

    def cuts(self) -> tuple[Tensor, Tensor]:
        """u, the last chunk of the uni part, and p, the first chunk of the paired part, from 0.

        NOTE[DIFF 10]: the paper needs integers and does not say how a soft gate becomes one.

        Gates without order have no cuts; theirs are those of ordered parts of the same sizes.

        Returns:
            Two (...,) int64; neither part is ever empty, so u >= 0 and p <= K - 1.
        """
        hard = self.hard()
        n_chunks = hard.uni.shape[-1]
        n_uni, n_paired = (gate.sum(-1, dtype=torch.int64) for gate in (hard.uni, hard.paired))
        return n_uni - 1, n_chunks - n_paired

    def towards_hard(self, hardness: Tensor | float) -> Gates:
        """(1 - a) g + a hard(g), with the gradient of g: at hardness 1 training sees what prediction sees."""
        hard = self.hard()
        return Gates(
            self.uni + hardness * (hard.uni - self.uni).detach(),
            self.paired + hardness * (hard.paired - self.paired).detach(),
        )


def _threshold(gate: Tensor) -> Tensor:
    chunks = torch.arange(gate.shape[-1], device=gate.device)
    widest = chunks == gate.argmax(dim=-1, keepdim=True)  # one chunk, also where all gates are 0
    return ((gate >= 0.5) | widest).to(gate.dtype)


# ---- weights for each modality -------------------------------------------------------------------


class PerModality(nn.Module):
    """M linear maps of one shape, applied side by side in one product.

    Each modality's tensors are parameters of their own, so that an optimiser can give them their own learning
    rate. With ``n_tokens`` every token has its own bias, which is a learnt position.
    """

    def __init__(self, n_modalities: int, d_in: int, d_out: int, *, n_tokens: int = 1) -> None:
        super().__init__()
        bound = 1 / math.sqrt(d_in)
        self.weights = nn.ParameterList(
            torch.empty(d_in, d_out).uniform_(-bound, bound) for _ in range(n_modalities)
        )
        self.biases = nn.ParameterList(
            torch.empty(n_tokens, d_out).uniform_(-bound, bound) for _ in range(n_modalities)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(M, B, d_in) to (M, B, d_out), or (M, B, N, d_in) to (M, B, N, d_out)."""
        weight, bias = torch.stack(list(self.weights)), torch.stack(list(self.biases))
        if x.dim() == 3:
            return torch.baddbmm(bias, x, weight)
        return torch.bmm(x.flatten(1, 2), weight).unflatten(1, x.shape[1:3]) + bias.unsqueeze(1)


def own_parameters(module: nn.Module, i: int) -> Iterator[nn.Parameter]:
    """What belongs to modality i alone in a module: entry i of each of its parameter lists."""
    for part in module.modules():
        if isinstance(part, nn.ParameterList):
            yield part[i]


# ---- the partitioner -----------------------------------------------------------------------------


class Partitioner(nn.Module):
    """Gates from a representation: g_u = 1 - cumsoftmax(a_u / t_u), g_p = cumsoftmax(a_p / t_p), t learnt.

    NOTE[DIFF 9]: chunks of neurons share a gate, and there is a temperature; the paper has neither.

    Args:
        n_modalities: M; each has weights of its own.
        d: D, width of a representation.
        n_chunks: K, at least 2.
        kind: ``"row"``: logits a = W h + b, for each row its own cut; ``"static"``: a = b, one cut for all
            rows; ``"sigmoid"``: gates without order, sigmoid(W h + b); ``"fixed"``: nothing is learnt, the
            first half is uni and the second paired (behind a learnt map, any cut of that size is a random
            one); ``"open"``: no partition, both gates are 1.

    Raises:
        ConfigError: an unknown kind, or fewer than 2 chunks.
    """

    def __init__(self, n_modalities: int, d: int, n_chunks: int, kind: GateKind = "row") -> None:
        super().__init__()
        if kind not in get_args(GateKind):
            known = ", ".join(get_args(GateKind))
            raise ConfigError(f"gate must be a known name; got {kind!r}; choose one of {known}")
        if n_chunks < 2:
            raise ConfigError(
                f"a partition needs 2 chunks or more; got {n_chunks}; make chunk at most half of the width"
            )
        self.kind, self.n_chunks = kind, n_chunks
        if kind in ("row", "sigmoid"):
            self.logits: nn.Module | None = PerModality(n_modalities, d, 2 * n_chunks)
        elif kind == "static":
            self.logits = nn.ParameterList(torch.zeros(1, 2 * n_chunks) for _ in range(n_modalities))
        else:
            self.logits = None
        if kind in ("row", "static"):
            self.log_temperature = nn.ParameterList(torch.zeros(1, 2, 1) for _ in range(n_modalities))

    def forward(self, representation: Tensor) -> Gates:
        """(M, B, D) to gates of (M, B, K)."""
        shape = (*representation.shape[:2], self.n_chunks)
        if self.logits is None:
            return self.constant(representation.new_ones(shape))
        if isinstance(self.logits, nn.ParameterList):
            logits = torch.stack(list(self.logits)).expand(-1, shape[1], -1)
        else:
            logits = self.logits(representation)
        pairs = logits.unflatten(2, (2, self.n_chunks))
        if self.kind == "sigmoid":
            return Gates(*pairs.sigmoid().unbind(2))
        falling, rising = cumsoftmax(pairs / torch.stack(list(self.log_temperature)).exp()).unbind(2)
        return Gates(1 - falling, rising)

    def constant(self, ones: Tensor) -> Gates:
        """Gates that nothing changes, from (M, B, K) ones."""
        if self.kind == "open":
            return Gates(ones, ones)
        first_half = ones * (torch.arange(self.n_chunks, device=ones.device) < self.n_chunks // 2)
        return Gates(first_half, 1 - first_half)
