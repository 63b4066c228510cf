"""What the committee reads of the order in a sequence, beside loops, and what it can then tell."""

import numpy as np
import pytest
import torch

from batches import SERIES, TASKS, random_batch, spoilt
from polymodal.batch import Batch, Input, Task
from polymodal.errors import CheckpointError
from polymodal.methods.committee import sequences
from polymodal.methods.committee.method import Committee, CommitteeConfig
from polymodal.methods.committee.sequences import (
    COLUMNS,
    N_KERNELS,
    N_OFFSETS,
    N_SEGMENTS,
    N_TAPS,
    RAMP,
    Kernels,
    segment_means,
)


def some_sequences(n=30, n_steps=20, d=12, least=1, seed=0):
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(least, n_steps + 1, (n,), generator=random)
    return torch.randn(n, n_steps, d, generator=random), lengths


def observed(n_steps=20, d=12):
    value, lengths = some_sequences(n_steps=n_steps, d=d)
    kernels = Kernels(d)
    kernels.observe(value, lengths, np.random.default_rng(0))
    return kernels, value, lengths


def given_by_loops(kernels, k, sequence):
    """What kernel k gives at each step of one (T, D) sequence without padding, in float64."""
    given = np.zeros(len(sequence))
    for t in range(len(sequence)):
        for n in range(kernels.channel.shape[1]):
            for tap in range(N_TAPS):
                step = t + (tap - N_TAPS // 2) * int(kernels.dilation[k])
                if 0 <= step < len(sequence):
                    given[t] += float(kernels.weight[k, n, tap]) * float(
                        sequence[step, int(kernels.channel[k, n])]
                    )
    return given


def test_means_of_quarters_are_those_of_loops():
    value, lengths = some_sequences(n_steps=11, d=3, least=0)
    found = segment_means(value * 1.0, lengths)
    spoilt_value = torch.where((torch.arange(11) < lengths.unsqueeze(1)).unsqueeze(2), value, torch.nan)
    assert torch.equal(segment_means(spoilt_value, lengths), found)
    longer = torch.nn.functional.pad(spoilt_value, (0, 0, 0, 5), value=torch.nan)
    assert torch.equal(segment_means(longer, lengths), found)
    for row, length in enumerate(lengths.tolist()):
        if length == 0:
            assert found[row].eq(0).all()
            continue
        fine = value[row, :length].repeat_interleave(4, dim=0)  # of which every quarter has a whole number
        expected = torch.cat([part.mean(0) for part in fine.split(length)])
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("n_steps", "d"), [(20, 12), (33, 2), (1, 1), (3, 4)])
def test_numbers_are_those_of_loops(n_steps, d):
    kernels, value, lengths = observed(n_steps, d)
    found = kernels(value, lengths)
    assert found.shape == (30, COLUMNS)
    above, largest = (
        found[:, : N_KERNELS * N_OFFSETS].reshape(30, N_KERNELS, N_OFFSETS),
        found[:, -N_KERNELS:],
    )
    for row in range(4):
        for k in range(0, N_KERNELS, 19):
            given = given_by_loops(kernels, k, value[row, : lengths[row]])
            assert largest[row, k] == pytest.approx(given.max(), abs=1e-4)
            width = RAMP * float(kernels.spread[k])
            for q in range(N_OFFSETS):
                ramp = np.clip((given - float(kernels.offset[k, q])) / width + 0.5, 0, 1)
                assert above[row, k, q] == pytest.approx(ramp.mean(), abs=1e-4)


def test_offsets_are_quantiles_of_what_training_rows_give():
    kernels, value, lengths = observed()
    for k in range(0, N_KERNELS, 51):
        rows = zip(value, lengths, strict=True)
        given = np.concatenate([given_by_loops(kernels, k, row[:length]) for row, length in rows])
        shares = [(given < float(offset)).mean() for offset in kernels.offset[k]]
        for q, share in enumerate(shares):
            assert q / N_OFFSETS - 0.01 <= share <= (q + 1) / N_OFFSETS + 0.01
        assert float(kernels.spread[k]) == pytest.approx(given.std(), rel=1e-3)


def test_kernels_are_centred_and_of_norm_one():
    kernels, _, _ = observed()
    torch.testing.assert_close(kernels.weight.sum(2), torch.zeros(N_KERNELS, 9), atol=1e-5, rtol=0)
    torch.testing.assert_close(kernels.weight.square().sum((1, 2)), torch.ones(N_KERNELS))
    read = (kernels.weight != 0).any(2)
    for channel, own in zip(kernels.channel, read, strict=True):
        assert len(set(channel[own].tolist())) == int(own.sum())
    assert set(read.sum(1).tolist()) >= {1, 2, 3, 9}


@pytest.mark.parametrize(("longest", "last"), [(1, 1), (9, 1), (17, 2), (1000, 124)])
def test_dilations_span_the_longest_row(longest, last):
    found = sequences.dilations(longest)
    assert len(found) == N_KERNELS
    assert (found[0], found[-1]) == (1, last)
    assert (np.diff(found) >= 0).all()
    assert (found[-1] * (N_TAPS - 1) < longest) or longest < N_TAPS


def test_neither_padding_nor_other_rows_are_read(monkeypatch):
    kernels, value, lengths = observed()
    expected = kernels(value, lengths)
    inside = torch.arange(20) < lengths.unsqueeze(1)
    poisoned = torch.where(inside.unsqueeze(2), value, torch.nan)
    torch.testing.assert_close(kernels(poisoned, lengths), expected, atol=0, rtol=0)
    longer = torch.cat([poisoned, torch.full((30, 13, 12), torch.inf)], dim=1)
    torch.testing.assert_close(kernels(longer, lengths), expected, atol=1e-4, rtol=1e-5)
    alone = [kernels(value[i : i + 1, : lengths[i]], lengths[i : i + 1]) for i in range(30)]
    torch.testing.assert_close(torch.cat(alone), expected, atol=1e-4, rtol=1e-5)
    monkeypatch.setattr(sequences, "NUMBERS_PER_PASS", 1)
    torch.testing.assert_close(kernels(value, lengths), expected, atol=1e-4, rtol=1e-5)


def test_a_row_without_steps_is_zeros():
    kernels, value, lengths = observed()
    lengths[3] = 0
    found = kernels(value * torch.nan, lengths * 0)
    assert found.eq(0).all()
    assert kernels(value, lengths)[3].eq(0).all()
    assert kernels(value, lengths)[4].ne(0).any()
    assert kernels(value[:0], lengths[:0]).shape == (0, COLUMNS)


def test_what_stands_still_does_not_hang_on_the_last_bit():
    value, lengths = torch.full((50, 30, 2), 0.3), torch.full((50,), 30)
    value[:, 15:] = -0.7
    kernels = Kernels(2)
    kernels.observe(value, lengths, np.random.default_rng(0))
    nudged = value * (1 + 1e-6)
    torch.testing.assert_close(kernels(nudged, lengths), kernels(value, lengths), atol=1e-3, rtol=0)


def test_without_rows_there_is_something_to_call():
    kernels = Kernels(3)
    kernels.observe(torch.zeros(0, 4, 3), torch.zeros(0, dtype=torch.int64), np.random.default_rng(0))
    assert kernels(torch.ones(2, 4, 3), torch.tensor([4, 2])).isfinite().all()


@pytest.mark.parametrize(("name", "value"), [("channel", 12), ("channel", -1), ("dilation", 0)])
def test_a_hostile_kernel_is_refused(name, value):
    saved = {key: tensor.clone() for key, tensor in observed()[0].state_dict().items()}
    saved[name][5] = value
    with pytest.raises(CheckpointError, match="a saved kernel reads columns that there are"):
        Kernels(12).load_state_dict(saved)


# ---- in the committee --------------------------------------------------------------------------------------

SMALL = CommitteeConfig(n_trees=10, n_trees_judged=6, n_generations=1)


def test_absent_bytes_are_never_read_and_a_saved_state_says_the_same():
    torch.manual_seed(0)
    batch = random_batch(SERIES, TASKS["multiclass"], 60)
    first, second, third = (Committee(SERIES, TASKS["multiclass"], SMALL) for _ in range(3))
    first.learn(batch, seed=0)
    second.learn(spoilt(batch), seed=0)
    third.load_state_dict(first.state_dict())
    expected = first(batch).prediction
    assert torch.equal(second(spoilt(batch)).prediction, expected)
    assert torch.equal(third(batch).prediction, expected)


def ordered(n=300, seed=0):
    """One period of a sine or its mirror image: the same steps, in another order."""
    random = np.random.default_rng(seed)
    y, lengths = random.integers(0, 2, n), random.integers(16, 25, n)
    value = np.zeros((n, 24, 3), dtype=np.float32)
    for row, length in enumerate(lengths):
        value[row, :length] = 0.4 * random.normal(size=(length, 3))
        time = np.arange(length) / (length - 1)
        value[row, :length, 0] += (1 if y[row] else -1) * np.sin(2 * np.pi * time)
    known = torch.ones(n, dtype=torch.bool)
    return Batch(
        {"s": torch.from_numpy(value)},
        torch.ones(n, 1, dtype=torch.bool),
        {"s": torch.from_numpy(lengths)},
        torch.from_numpy(y),
        known,
    )


def test_order_is_told_where_statistics_tell_nothing(monkeypatch):
    inputs = (Input("s", "series", 3),)
    new = ordered(seed=1)
    right = []
    for blind in (False, True):
        if blind:
            monkeypatch.setattr(Kernels, "forward", lambda _, value, __: torch.zeros(len(value), COLUMNS))
            monkeypatch.setattr(
                "polymodal.methods.committee.method.segment_means",
                lambda value, _: torch.zeros(len(value), N_SEGMENTS * 3),
            )
        method = Committee(inputs, Task("multiclass", 2), SMALL)
        method.learn(ordered(), seed=0)
        right.append(float((method(new).prediction.argmax(1) == new.y).float().mean()))
    assert right[0] > 0.97
    assert right[1] < 0.6
