"""Branches, attention and small parts that several methods are built from.

Letters: B rows, M modalities, T steps, N tokens, D width in, d width out. A mask is True where something
is present. What is absent is overwritten with ``torch.where`` before it is read, so that neither its
bytes nor a NaN among them can reach an output or a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal.batch import Batch, Input

# ---- absence -------------------------------------------------------------------------------------


def blank(values: Tensor, mask: Tensor) -> Tensor:
    """``values`` with zeros wherever ``mask`` is False.

    Args:
        values: (*S, ...), any content where the mask is False, NaN included.
        mask: (*S) bool, over the leading axes of ``values``.
    """
    mask = mask.reshape(mask.shape + (1,) * (values.dim() - mask.dim()))
    return torch.where(mask, values, torch.zeros((), dtype=values.dtype, device=values.device))


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean over the present tokens, zero where a row has none.

    Args:
        tokens: (B, N, d).
        mask: (B, N) bool.

    Returns:
        (B, d).
    """
    return blank(tokens, mask).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def step_mask(lengths: Tensor, n_steps: int) -> Tensor:
    """(B, T) bool, True for the first ``lengths`` steps of each row."""
    return torch.arange(n_steps, device=lengths.device) < lengths.unsqueeze(1)


def last_step(states: Tensor, lengths: Tensor) -> Tensor:
    """(B, d): the state (B, T, d) at each row's last valid step; zero where the length is 0."""
    index = (lengths - 1).clamp(min=0).reshape(-1, 1, 1).expand(-1, 1, states.shape[-1])
    return blank(states.gather(1, index).squeeze(1), lengths > 0)


def random_subset(presence: Tensor) -> Tensor:
    """A random non-empty part of what each row has, every such part equally likely.

    Args:
        presence: (B, M) bool.

    Returns:
        (B, M) bool, nowhere True where ``presence`` is False; all False only for rows without any modality.
    """
    n_rows, n_modalities = presence.shape
    kept = presence & (torch.rand(n_rows, n_modalities, device=presence.device) < 0.5)
    empty = ~kept.any(dim=1, keepdim=True)
    while bool((empty & presence.any(dim=1, keepdim=True)).any()):
        again = presence & (torch.rand(n_rows, n_modalities, device=presence.device) < 0.5)
        kept = torch.where(empty, again, kept)
        empty = ~kept.any(dim=1, keepdim=True)
    return kept


# ---- one vector in, one vector out ---------------------------------------------------------------


def mlp(d_in: int, d_hidden: int, d_out: int, dropout: float = 0.0) -> nn.Sequential:
    """Two linear layers with a GELU between them."""
    return nn.Sequential(
        nn.Linear(d_in, d_hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(d_hidden, d_out)
    )


class ResidualMLP(nn.Module):
    """x + W2 relu(W1 x), both square: 2 (d^2 + d) parameters."""

    def __init__(self, d: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Linear(d, d)
        self.second = nn.Linear(d, d)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) to (..., d)."""
        return x + self.second(self.dropout(self.first(x).relu()))


class LinearPerModality(nn.Module):
    """M linear maps of one shape, applied side by side in one product: (B, M, d_in) to (B, M, d_out)."""

    def __init__(self, n_modalities: int, d_in: int, d_out: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(d_in)
        self.weight = nn.Parameter(torch.empty(n_modalities, d_in, d_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_modalities, 1, d_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, d_in) to (B, M, d_out)."""
        return torch.baddbmm(self.bias, x.transpose(0, 1), self.weight).transpose(0, 1)


# ---- attention -----------------------------------------------------------------------------------

ABSENT = -1e4  # the additive bias of an absent key: exp of it underflows to exactly 0
FUSED_FROM = 2**23  # weights, rows x heads x queries x keys: above 32 MiB the fused kernel is the faster


def biased_attention(query: Tensor, key: Tensor, value: Tensor, key_bias: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(d) + b) V with a bias per key that may need a gradient, as the log of a gate does.

    A mask with a gradient would leave PyTorch's fused attention. Here the bias is one more dimension of the
    inner product, so that the fused kernel forms its gradient too and keeps no matrix of weights. While
    that matrix is small, two products written out are faster (benchmarks/attention.py).

    Args:
        query: (B, H, N, d).
        key: (B, H, K, d).
        value: (B, H, K, d).
        key_bias: (B, K), finite. A key with ``ABSENT`` has exactly zero weight and gradient if another key
            is there; where none is, the weights are uniform and the caller blanks the row.

    Returns:
        (B, H, N, d).
    """
    scale = 1 / math.sqrt(query.shape[-1])
    n_weights = query.shape[:3].numel() * key.shape[2]
    attention = _fused if n_weights > FUSED_FROM else _written_out
    return attention(query, key, value, key_bias[:, None, :].expand(key.shape[:3]), scale)


def _fused(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Queries [q, 1 / scale, 0, ...] and keys [k, b, 0, ...]; the kernel is no faster below a width of 16."""
    d = query.shape[-1]
    extra = max(1, 16 - d)
    query = F.pad(F.pad(query, (0, 1), value=1 / scale), (0, extra - 1))
    key = F.pad(torch.cat([key, bias.unsqueeze(-1)], dim=-1), (0, extra - 1))
    value = F.pad(value, (0, extra))
    return F.scaled_dot_product_attention(query, key, value, scale=scale)[..., :d]


def _written_out(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Two batched products and a softmax."""
    logits = torch.baddbmm(
        bias.flatten(0, 1).unsqueeze(1), query.flatten(0, 1), key.flatten(0, 1).mT, alpha=scale
    )
    return torch.bmm(logits.softmax(dim=-1), value.flatten(0, 1)).view(query.shape)


class TransformerLayer(nn.Module):
    """Pre-norm attention and feed-forward of 4x width: 12 d^2 + 13 d parameters.

    Queries come from ``x``, keys and values from ``context``, both through the same norm (as in MulT,
    arXiv 1906.00295). A row without any present key gets the attention output zero.
    """

    def __init__(self, d: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.norm_attention = nn.LayerNorm(d)
        self.norm_forward = nn.LayerNorm(d)
        self.project_in = nn.Linear(d, 3 * d)
        self.project_out = nn.Linear(d, d)
        self.feed_forward = nn.Sequential(nn.Linear(d, 4 * d), nn.ReLU(), nn.Linear(4 * d, d))

    def forward(
        self, x: Tensor, context: Tensor | None, key_mask: Tensor, key_bias: Tensor | None = None
    ) -> Tensor:
        """Update x (B, N, d) by what it finds in context (B, K, d), or in itself when that is None.

        Args:
            x: (B, N, d).
            context: (B, K, d) or None.
            key_mask: (B, K) bool over the keys; masked keys must hold finite numbers.
            key_bias: (B, K), added to the logits of each key and far above ``ABSENT``; None for zeros.
        """
        attended = self.attend(self.norm_attention(x), context, key_mask, key_bias)
        x = x + F.dropout(attended, self.dropout, self.training)
        return x + F.dropout(self.feed_forward(self.norm_forward(x)), self.dropout, self.training)

    def attend(
        self, x: Tensor, context: Tensor | None, key_mask: Tensor, key_bias: Tensor | None = None
    ) -> Tensor:
        """Multi-head attention of the normalised x over the present keys."""
        if context is None:
            query, key, value = self.project_in(x).chunk(3, dim=-1)
        else:
            d = x.shape[-1]
            weight, bias = self.project_in.weight, self.project_in.bias
            query = F.linear(x, weight[:d], bias[:d])
            key, value = F.linear(self.norm_attention(context), weight[d:], bias[d:]).chunk(2, dim=-1)
        query, key, value = self.split(query), self.split(key), self.split(value)
        # A row without keys attends to everything, so that no softmax is empty; its output is blanked.
        has_key = key_mask.any(dim=1)
        if key_bias is None:
            mask = (key_mask | ~has_key.unsqueeze(1))[:, None, None, :]
            heads = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        else:
            heads = biased_attention(query, key, value, key_bias.masked_fill(~key_mask, ABSENT))
        return blank(self.project_out(heads.transpose(1, 2).flatten(2)), has_key)

    def split(self, x: Tensor) -> Tensor:
        """(B, N, d) to (B, heads, N, d / heads)."""
        return x.view(x.shape[0], x.shape[1], self.n_heads, -1).transpose(1, 2)


class Transformer(nn.Module):
    """Layers and a final norm: l (12 d^2 + 13 d) + 2 d parameters."""

    def __init__(self, d: int, n_heads: int, n_layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(d, n_heads, dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(d)

    def forward(
        self,
        x: Tensor,
        key_mask: Tensor,
        context: Tensor | None = None,
        key_bias: Tensor | None = None,
    ) -> Tensor:
        """X (B, N, d), ``key_mask`` and ``key_bias`` over the keys: ``context`` (B, K, d) where given."""
        for layer in self.layers:
            x = layer(x, context, key_mask, key_bias)
        return self.norm(x)


def positions(n_steps: int, d: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(T, d) sinusoidal positions (arXiv 1706.03762), without parameters; any width."""
    rates = torch.exp(-math.log(10_000.0) * torch.arange(0, d, 2, device=device, dtype=dtype) / d)
    angles = torch.arange(n_steps, device=device, dtype=dtype).unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :d]


def even_heads(d: int, at_most: int = 4) -> int:
    """The largest number of heads up to ``at_most`` that divides d."""
    return max(n for n in range(1, at_most + 1) if d % n == 0)


# ---- branches: one modality in, one vector out ---------------------------------------------------


class VectorBranch(nn.Module):
    """A small network over one vector: (B, D) to (B, d)."""

    def __init__(self, d_in: int, d: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.network = mlp(d_in, 2 * d, d, dropout)

    def forward(self, values: Tensor, present: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, D) values, (B,) bool present; the rows of absent ones hold a constant."""
        del lengths
        return self.network(blank(values, present))


class GRUBranch(nn.Module):
    """A one-layer GRU, read at each row's last valid step, then a linear map: (B, T, D) to (B, d)."""

    def __init__(self, d_in: int, d: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.gru = nn.GRU(d_in, d, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(d, d)

    def forward(self, values: Tensor, present: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) values, (B,) bool present, (B,) int64 lengths; padding is never read."""
        values, lengths, _ = trim(values, present, lengths)
        states, _ = self.gru(values)
        return self.project(self.dropout(last_step(states, lengths)))


class TransformerBranch(nn.Module):
    """A transformer encoder over the valid steps and their mean: (B, T, D) to (B, d)."""

    def __init__(self, d_in: int, d: int, dropout: float = 0.0, n_layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Linear(d_in, d)
        self.transformer = Transformer(d, even_heads(d), n_layers, dropout)
        self.project = nn.Linear(d, d)

    def forward(self, values: Tensor, present: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) values, (B,) bool present, (B,) int64 lengths; padding is never read."""
        values, lengths, mask = trim(values, present, lengths)
        steps = self.embed(values)
        steps = steps + positions(steps.shape[1], steps.shape[2], steps.device, steps.dtype)
        return self.project(masked_mean(self.transformer(steps, mask), mask))


def trim(values: Tensor, present: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sequences cut to the longest one, their padding and absent rows blanked.

    Args:
        values: (B, T, D).
        present: (B,) bool.
        lengths: (B,) int64.

    Returns:
        values (B, T', D), lengths (B,) that are 0 where absent, and the step mask (B, T'), T' >= 1.
    """
    lengths = blank(lengths, present).clamp(max=values.shape[1])
    n_steps = max(1, int(lengths.max())) if len(lengths) else 1
    if values.shape[1] < n_steps:
        values = F.pad(values, (0, 0, 0, n_steps - values.shape[1]))
    mask = step_mask(lengths, n_steps)
    return blank(values[:, :n_steps], mask), lengths, mask


class TunedBranch(nn.Module):
    """The last layers of a pretrained model, then a small network: hidden states (B, T, D) to (B, d).

    Absent rows are not computed at all.
    """

    def __init__(self, top: nn.Module, d: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.top = top
        self.branch = VectorBranch(int(top.d_out), d, dropout)  # type: ignore[arg-type]

    def forward(self, values: Tensor, present: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) values, (B,) bool present, (B,) int64 lengths; padding is never read."""
        rows = present.nonzero().squeeze(1)
        pooled = values.new_zeros(len(values), int(self.top.d_out))  # type: ignore[arg-type]
        if len(rows):
            pooled = pooled.index_copy(0, rows, self.top(values[rows], lengths[rows]))
        return self.branch(pooled, present)


SEQUENCE_BRANCHES: dict[str, type[GRUBranch] | type[TransformerBranch]] = {
    "gru": GRUBranch,
    "transformer": TransformerBranch,
}


def branch(source: Input, d: int, *, sequence: str = "gru", dropout: float = 0.0) -> nn.Module:
    """The branch for one input; called as ``branch(values, present, lengths)``, returns (B, d)."""
    if source.top is not None:
        return TunedBranch(source.top(), d, dropout)
    kind = VectorBranch if source.kind == "vector" else SEQUENCE_BRANCHES[sequence]
    return kind(source.width, d, dropout)


class Branches(nn.Module):
    """One branch for each input: a batch in, (B, M, d) out, zeros where a modality is absent."""

    def __init__(
        self, inputs: Sequence[Input], d: int, *, sequence: str = "gru", dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            branch(source, d, sequence=sequence, dropout=dropout) for source in inputs
        )

    def forward(self, batch: Batch) -> Tensor:
        """(B, M, d)."""
        outputs = [
            module(batch.values[name], batch.presence[:, i], batch.lengths.get(name))
            for i, (name, module) in enumerate(zip(batch.names, self.branches, strict=True))
        ]
        return blank(torch.stack(outputs, dim=1), batch.presence)


# ---- a set of modalities in, one vector out ------------------------------------------------------


class SetFusion(nn.Module):
    """Masked mean of the present tokens plus a set transformer over them: (B, M, d) to (B, d).

    Reads whatever is present: nothing stands in for an absent token. Each modality has an embedding of
    its own, so that the order of modalities carries no meaning and their identity does. The transformer
    works at half the width, a quarter of the time.
    """

    def __init__(self, n_modalities: int, d: int, dropout: float = 0.0, n_layers: int = 1) -> None:
        super().__init__()
        d_narrow = max(1, d // 2)
        self.identity = nn.Parameter(0.02 * torch.randn(n_modalities, d_narrow))
        self.narrow = nn.Linear(d, d_narrow)
        self.transformer = Transformer(d_narrow, even_heads(d_narrow), n_layers, dropout)
        self.widen = nn.Linear(d_narrow, d)

    def forward(self, tokens: Tensor, presence: Tensor) -> Tensor:
        """Tokens (B, M, d), presence (B, M) bool; a row without any token gets zeros."""
        narrow = self.narrow(blank(tokens, presence)) + self.identity
        attended = masked_mean(self.transformer(narrow, presence), presence)
        return masked_mean(tokens, presence) + blank(self.widen(attended), presence.any(dim=1))


# ---- the backbone of GMC and MulT ----------------------------------------------------------------


class FlatGRUBranch(nn.Module):
    """A one-layer GRU whose T states are flattened and mapped: (B, T, D) to (B, d), for one fixed T.

    Source: GMC (arXiv 2202.03390), aligned sentiment features.
    """

    def __init__(self, d_in: int, d_hidden: int, n_steps: int, d: int) -> None:
        super().__init__()
        self.n_steps = n_steps
        self.gru = nn.GRU(d_in, d_hidden, batch_first=True)
        self.project = nn.Linear(n_steps * d_hidden, d)

    def forward(self, values: Tensor, present: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) values, (B,) bool present, (B,) int64 lengths up to ``n_steps``."""
        values, lengths, mask = trim(values, present, lengths)
        states = blank(self.gru(values)[0], mask)
        return self.project(F.pad(states, (0, 0, 0, self.n_steps - states.shape[1])).flatten(1))


class CrossModalFusion(nn.Module):
    """Every modality reads every other one, then itself: a batch of M series to (B, d).

    Source: MulT (arXiv 1906.00295) as GMC uses it for its joint encoder. M (M - 1) cross-modal transformers
    of width ``d_model``, M memory transformers of width ``d_model`` (M - 1), their last valid steps
    concatenated, a residual two-layer MLP, a linear map.

    An absent source's cross-modal output is replaced by zero, an absent target's block is zero.
    """

    def __init__(
        self, inputs: Sequence[Input], d_model: int, n_heads: int, n_layers: int, d: int, dropout: float
    ) -> None:
        super().__init__()
        n_others = len(inputs) - 1
        d_block = d_model * n_others
        self.scale = math.sqrt(d_model)
        self.convolutions = nn.ModuleList(nn.Linear(source.width, d_model, bias=False) for source in inputs)
        self.crossings = nn.ModuleList(
            nn.ModuleList(Transformer(d_model, n_heads, n_layers, dropout) for _ in range(n_others))
            for _ in inputs
        )
        self.memories = nn.ModuleList(Transformer(d_block, n_heads, n_layers, dropout) for _ in inputs)
        self.residual = ResidualMLP(len(inputs) * d_block, dropout)
        self.project = nn.Linear(len(inputs) * d_block, d)

    def forward(self, batch: Batch) -> Tensor:
        """(B, d); what is absent has no part in it."""
        cut = [
            trim(batch.values[name], batch.presence[:, i], batch.lengths[name])
            for i, name in enumerate(batch.names)
        ]
        steps = [self.embed(i, values) for i, (values, _, _) in enumerate(cut)]
        masks = [mask for _, _, mask in cut]
        blocks = [self.block(i, steps, masks, cut[i][1], batch.presence) for i in range(len(steps))]
        return self.project(self.residual(torch.cat(blocks, dim=1)))

    def embed(self, i: int, values: Tensor) -> Tensor:
        """A 1x1 convolution over the steps, and positions: (B, T, D) to (B, T, d_model)."""
        steps = self.scale * self.convolutions[i](values)
        return steps + positions(steps.shape[1], steps.shape[2], steps.device, steps.dtype)

    def block(
        self, target: int, steps: list[Tensor], masks: list[Tensor], lengths: Tensor, presence: Tensor
    ) -> Tensor:
        """(B, d_block): what the target modality's last valid step has read."""
        sources = [i for i in range(len(steps)) if i != target]
        crossings: Iterable[nn.Module] = self.crossings[target].children()
        read = [
            blank(crossing(steps[target], masks[source], steps[source]), presence[:, source])
            for source, crossing in zip(sources, crossings, strict=True)
        ]
        return last_step(self.memories[target](torch.cat(read, dim=2), masks[target]), lengths)
