"""CMU-MOSI, CMU-MOSEI, CH-SIMS and IEMOCAP from files of the published form: padding, absence, traps."""

import pickle

import numpy as np
import pytest

from polymodal import RobultClassifier, RobultRegressor
from polymodal.data import public
from polymodal.data.public.sequences import counted_steps, first_steps, unpadded
from polymodal.data.readers import load
from polymodal.errors import ConfigError, DataError
from polymodal.schema import Series, Text

SIZES = {"train": 12, "valid": 3, "test": 4}
MMSA = {"mosi_mmsa": (50, 5, 20), "mosei_mmsa": (50, 74, 35), "sims": (39, 33, 709)}
MULT = {"mosi_mult": ("mosi", 5, 20), "mosei_mult": ("mosei_senti", 74, 35)}


def padded(random, lengths, n_steps, width, *, before=False):
    """(n, T, D): noise in ``lengths`` steps, zeros in the others."""
    values = np.zeros((len(lengths), n_steps, width))
    for row, n in zip(values, lengths, strict=True):
        steps = slice(n_steps - n, n_steps) if before else slice(0, n)
        row[steps] = random.normal(size=(n, width)) + 0.1
    return values


def mmsa_part(random, n, n_tokens, d_audio, d_vision, aligned):
    lengths = {name: random.integers(2, 12, n) for name in ("text", "audio", "vision")}
    if aligned:
        lengths = dict.fromkeys(lengths, lengths["text"])
    n_audio, n_vision = (n_tokens, n_tokens) if aligned else (400, 55)
    mask = (np.arange(n_tokens) < lengths["text"][:, None]).astype(np.float32)
    part = {
        "raw_text": np.array([f"utterance {i}" for i in range(n)]),
        "audio": padded(random, lengths["audio"], n_audio, d_audio),
        "vision": padded(random, lengths["vision"], n_vision, d_vision),
        "id": np.array([f"video{i // 2}$_${i}" for i in range(n)]),
        "text": random.normal(size=(n, n_tokens, 768)).astype(
            np.float32
        ),  # of BERT: not zero behind the mask
        "text_bert": np.stack([mask * 101, mask, mask * 0], axis=1),
        "annotations": np.array(["Positive"] * n),
        "classification_labels": np.zeros(n),
        "regression_labels": np.linspace(-3, 3, n).astype(np.float32),
    }
    if not aligned:
        part |= {f"{name}_lengths": lengths[name].tolist() for name in ("audio", "vision")}
    return part


def write(path, held, protocol=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(held, protocol))


def write_mmsa(folder, name, variant="unaligned", change=lambda parts: None):
    n_tokens, *widths = MMSA[name]
    random = np.random.default_rng(0)
    parts = {part: mmsa_part(random, n, n_tokens, *widths, variant == "aligned") for part, n in SIZES.items()}
    change(parts)
    write(folder / f"{variant}_{n_tokens}.pkl", parts)
    return parts


def write_mult(folder, name, variant="aligned", change=lambda parts: None):
    stem, d_audio, d_vision = MULT[name]
    random, parts = np.random.default_rng(0), {}
    for part, n in SIZES.items():
        lengths = random.integers(2, 9, (3, n))
        ids = [[f"a_b{i // 2}{f'_{i}' if stem == 'mosi' else ''}", "0.0", "1.5"] for i in range(n)]
        parts[part] = {
            "text": padded(random, lengths[0], 50, 300, before=True).astype(np.float32),
            "audio": padded(random, lengths[1], 50 if variant == "aligned" else 375, d_audio, before=True),
            "vision": padded(random, lengths[2], 50 if variant == "aligned" else 500, d_vision, before=True),
            "labels": np.linspace(-3, 3, n).reshape(n, 1, 1),
            "id": np.array(ids, dtype="S" if stem == "mosi" else "U"),
        }
    change(parts)
    write(folder / f"{stem}_data{'' if variant == 'aligned' else '_noalign'}.pkl", parts)
    return parts


def write_iemocap(folder):
    random, parts = np.random.default_rng(0), {}
    for part, n in SIZES.items():
        there = random.integers(0, 2, (n, 4))
        there[:, 0] = np.arange(n) % 2
        parts[part] = {
            "text": padded(random, random.integers(2, 9, n), 20, 300, before=True),
            "audio": padded(random, random.integers(2, 9, n), 20, 74, before=True),
            "vision": padded(random, random.integers(2, 9, n), 20, 35, before=True),
            "labels": np.stack([1 - there, there], axis=2),
        }
    write(folder / "iemocap_data.pkl", parts)
    return parts


# --- padding ---------------------------------------------------------------------------------------------


def test_zeros_around_a_sequence_go_and_those_inside_stay():
    values = np.zeros((3, 6, 2))
    values[0, 2:5] = [[1, 0], [0, 0], [0, 2]]
    values[1, 5] = 3
    cells = unpadded(values)
    np.testing.assert_array_equal(cells[0], [[1, 0], [0, 0], [0, 2]])
    np.testing.assert_array_equal(cells[1], [[3, 3]])
    assert cells[2] is None
    assert {cells[0].dtype, cells[1].dtype} == {np.dtype(np.float32)}


def test_a_mask_is_believed():
    values = np.ones((2, 4, 2))
    values[1, :3] = 0
    cells = first_steps(values, np.array([2, 3]))
    assert [None if cell is None else len(cell) for cell in cells] == [2, None]


def test_counted_lengths_are_taken_where_nothing_lies_behind_them():
    values = np.zeros((4, 6, 2))
    values[0, :2] = 1  # its third step is a zero of its own
    values[1, [0, 3]] = 1  # counted up to its first step of zeros
    values[2, 4:] = 1  # padded in front
    cells = counted_steps(values, [3, 1, 1, 1])
    assert [None if cell is None else len(cell) for cell in cells] == [3, 4, 2, None]


@pytest.mark.parametrize("bad", [-np.inf, np.inf, np.nan])
def test_values_that_are_not_finite_become_zero(bad):
    values = np.ones((1, 3, 2))
    values[0, 1, 0] = bad
    for cell in (unpadded(values)[0], first_steps(values, [3])[0], counted_steps(values, [3])[0]):
        np.testing.assert_array_equal(cell, [[1, 1], [0, 1], [1, 1]])


# --- MMSA ------------------------------------------------------------------------------------------------

EVERY_MMSA = [
    (name, each) for name in MMSA for each in ("aligned", "unaligned") if (name, each) != ("sims", "aligned")
]


@pytest.mark.parametrize(("name", "variant"), EVERY_MMSA)
def test_mmsa_is_cut_to_what_was_recorded(name, variant, tmp_path):
    parts = write_mmsa(tmp_path / name, name, variant)
    data = load(name, tmp_path, variant=variant)
    widths = dict(zip(("text", "audio", "vision"), (768, *MMSA[name][1:]), strict=True))
    assert data.modalities == {each: Series() for each in widths}
    assert data.name == name
    assert data.task == "regression"
    start = 0
    for part, own in parts.items():
        rows = data.splits["published"][part]
        np.testing.assert_array_equal(rows, np.arange(start, start := start + SIZES[part]))
        np.testing.assert_allclose(data.y[rows], own["regression_labels"])
        n_tokens = own["text_bert"][:, 1].sum(axis=1)
        for each, width in widths.items():
            for i, row in enumerate(rows):
                n = n_tokens[i] if variant == "aligned" or each == "text" else own[f"{each}_lengths"][i]
                assert data.X[each][row].shape == (n, width)
                np.testing.assert_allclose(data.X[each][row], own[each][i, : int(n)], rtol=1e-6)
    assert data.groups.tolist()[:3] == ["video0", "video0", "video1"]
    assert [len(rows) for rows in data.train_test(0)] == [15, 4]


def test_the_steps_of_aligned_modalities_belong_together(tmp_path):
    """[CLS] and [SEP] have zeros for audio and vision: they are no padding there."""

    def frame(parts):
        part = parts["train"]
        n = int(part["text_bert"][0, 1].sum())
        for each in ("audio", "vision"):
            part[each][0, [0, n - 1]] = 0

    write_mmsa(tmp_path, "mosi_mmsa", "aligned", frame)
    data = public.read("mosi_mmsa", tmp_path)
    assert len(data.X["text"][0]) == len(data.X["audio"][0]) == len(data.X["vision"][0])
    assert not data.X["vision"][0][0].any()


def test_a_face_that_was_never_found_is_absent(tmp_path):
    def hide(parts):
        parts["valid"]["vision"][1] = 0
        parts["valid"]["vision_lengths"][1] = 1

    write_mmsa(tmp_path, "mosei_mmsa", change=hide)
    data = public.read("mosei_mmsa", tmp_path, "unaligned")
    assert [i for i, cell in enumerate(data.X["vision"]) if cell is None] == [SIZES["train"] + 1]


@pytest.mark.parametrize(("name", "variant"), EVERY_MMSA)
def test_transcripts_take_the_place_of_bert(name, variant, tmp_path):
    write_mmsa(tmp_path, name, variant)
    data = public.read(name, tmp_path, f"{variant}+text")
    assert data.modalities == {"text": Text(), "audio": Series(), "vision": Series()}
    assert data.X["text"].tolist() == [f"utterance {i}" for n in SIZES.values() for i in range(n)]


def test_mmsa_files_are_told_apart_by_variant(tmp_path):
    write_mmsa(tmp_path, "mosi_mmsa", "unaligned")
    with pytest.raises(
        DataError, match=r"mosi_mmsa is read from the file .*aligned_50\.pkl; there is none; get"
    ):
        public.read("mosi_mmsa", tmp_path)
    with pytest.raises(
        ConfigError, match=r"sims has the variants unaligned, unaligned\+text; 'aligned' came"
    ):
        public.read("sims", tmp_path, "aligned")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda parts: parts.pop("valid"), r"holds train, valid, test; 'valid' is missing"),
        (lambda parts: parts["test"].pop("vision"), r"'vision' is missing in"),
        (lambda parts: parts["test"].pop("audio_lengths"), r"'audio_lengths' is missing in"),
        (lambda parts: parts.update(train=[1, 2]), r"maps names to values; .* holds a list"),
        (lambda parts: parts["train"].update(id=["a"]), r"have one value a row; those of 'train' .*id 1"),
    ],
)
def test_what_a_damaged_mmsa_file_lacks_is_said(change, text, tmp_path):
    write_mmsa(tmp_path, "mosi_mmsa", change=change)
    with pytest.raises(DataError, match=text) as error:
        public.read("mosi_mmsa", tmp_path, "unaligned")
    assert "\n" not in str(error.value)


def test_mmsa_trains_with_transcripts_and_features(tmp_path):
    write_mmsa(tmp_path, "sims")
    data = public.read("sims", tmp_path, "unaligned+text")
    train, test = data.train_test(0)
    X, y = data.rows(train)
    model = RobultRegressor(data.modalities, max_epochs=1, random_state=0).fit(X, y)
    assert np.isfinite(model.predict(data.rows(test)[0])).all()


# --- MulT ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MULT)
@pytest.mark.parametrize("variant", ["aligned", "unaligned"])
def test_mult_is_cut_to_what_was_recorded(name, variant, tmp_path):
    parts = write_mult(tmp_path / name, name, variant)
    data = load(name, tmp_path, variant=variant)
    labels = np.concatenate([own["labels"].ravel() for own in parts.values()])
    np.testing.assert_allclose(data.y, labels)
    for each in ("text", "audio", "vision"):
        published = [row for own in parts.values() for row in own[each]]
        for cell, row in zip(data.X[each], published, strict=True):
            assert 2 <= len(cell) <= 8
            np.testing.assert_allclose(cell, row[len(row) - len(cell) :], rtol=1e-6)
            assert not row[: len(row) - len(cell)].any()
    assert data.groups.tolist()[:3] == ["a_b0", "a_b0", "a_b1"]
    assert {part: len(rows) for part, rows in data.splits["published"].items()} == SIZES


def test_minus_infinity_in_mosei_audio_becomes_zero(tmp_path):
    def spoil(parts):
        parts["train"]["audio"][0, -1, 3] = -np.inf

    write_mult(tmp_path, "mosei_mult", change=spoil)
    assert public.read("mosei_mult", tmp_path).X["audio"][0][-1, 3] == 0


def test_labels_of_another_form_are_an_error(tmp_path):
    write_mult(tmp_path, "mosi_mult", change=lambda parts: parts["train"].update(labels=np.zeros((12, 6))))
    with pytest.raises(
        DataError, match=r"labels of mosi_mult are \(n, 1, 1\); .* has \(12, 6\); get it from"
    ):
        public.read("mosi_mult", tmp_path)


def test_emotions_of_iemocap_are_there_or_not(tmp_path):
    parts = write_iemocap(tmp_path / "iemocap")
    data = load("iemocap", tmp_path)
    assert data.classes == ("neutral", "happy", "sad", "angry")
    assert data.task == "multilabel"
    assert data.groups is None
    np.testing.assert_array_equal(data.y, np.concatenate([own["labels"][..., 1] for own in parts.values()]))
    train, test = data.train_test(0)
    X, y = data.rows(train)
    model = RobultClassifier(data.modalities, max_epochs=1, random_state=0).fit(X, y)
    assert model.predict(data.rows(test)[0]).shape == (4, 4)


# --- what is known of them -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*MMSA, *MULT, "iemocap"])
def test_a_complete_folder_of_too_few_rows_is_told(name, tmp_path):
    if name in MMSA:
        write_mmsa(tmp_path, name, variant := "unaligned")
    elif name in MULT:
        write_mult(tmp_path, name, variant := "aligned")
    else:
        write_iemocap(tmp_path)
        variant = "aligned"
    findings = public.check(name, tmp_path, variant)
    assert findings[0].is_right
    assert findings[0].what.endswith(".pkl is there")
    if name in MMSA:
        assert findings[1].what.endswith("has not the published sha256")
    wrong = [finding.what for finding in findings if "rows" in finding.what]
    assert wrong[0] == f"train: 12 rows, {public.get(name).n_rows['train']:,} published"
    assert not any(finding.is_right for finding in findings if "rows" in finding.what)
