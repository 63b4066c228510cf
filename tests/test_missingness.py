"""The missingness lab: rates, rules, seeds, hashes, and what a mask does to data."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymodal.data import missingness
from polymodal.data.missingness import PresenceMask
from polymodal.errors import CheckpointError, ConfigError, DataError

NAMES = ("audio", "image", "text")
N = 20_000
LABELS = np.arange(N) % 4

RANDOM_RECIPES = {
    "completely_at_random": lambda n, seed, k: missingness.completely_at_random(
        n, NAMES, 0.5, seed, n_complete=k
    ),
    "per_modality": lambda n, seed, k: missingness.per_modality(
        n, NAMES, {"audio": 0.1, "image": 0.9, "text": 0.8}, seed, n_complete=k
    ),
    "blocks": lambda n, seed, k: missingness.blocks(
        n, NAMES, [["audio", "text"], ["image"]], seed, n_complete=k
    ),
    "by_label": lambda n, seed, k: missingness.not_at_random(
        n, NAMES, 0.4, seed, by_label=LABELS[:n], n_complete=k
    ),
    "by_value": lambda n, seed, k: missingness.not_at_random(
        n, NAMES, 0.4, seed, by_value=np.arange(n), n_complete=k
    ),
}


@pytest.mark.parametrize("recipe", RANDOM_RECIPES)
def test_every_row_keeps_a_modality(recipe):
    assert RANDOM_RECIPES[recipe](N, 0, 0).mask.any(axis=1).all()


@pytest.mark.parametrize("recipe", RANDOM_RECIPES)
def test_the_seed_decides(recipe):
    draw = RANDOM_RECIPES[recipe]
    assert draw(300, 3, 5) == draw(300, 3, 5)
    assert draw(300, 3, 5).sha256 != draw(300, 4, 5).sha256


@pytest.mark.parametrize("recipe", RANDOM_RECIPES)
def test_complete_rows_are_guaranteed(recipe):
    assert RANDOM_RECIPES[recipe](200, 0, 200).mask.all()
    few, none = RANDOM_RECIPES[recipe](2_000, 0, 700).mask, RANDOM_RECIPES[recipe](2_000, 0, 0).mask
    assert few.all(axis=1).sum() >= 700
    assert not none.all()


@pytest.mark.parametrize("recipe", RANDOM_RECIPES)
def test_a_recipe_is_json_and_names_its_seed(recipe):
    mask = RANDOM_RECIPES[recipe](100, 11, 0)
    assert json.loads(json.dumps(mask.recipe)) == mask.recipe
    assert mask.recipe["seed"] == 11


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.6, 2 / 3])
def test_the_rate_asked_for_is_the_rate_after_the_rule(rate):
    rates = missingness.completely_at_random(N, NAMES, rate, 0).rates()
    # Two cells of a row are dependent at most; five standard errors of a proportion.
    assert rates == pytest.approx(dict.fromkeys(NAMES, rate), abs=5 * np.sqrt(0.25 / N))


def test_rates_of_a_modality_are_its_own():
    asked = {"audio": 0.0, "image": 0.95, "text": 0.9}
    assert missingness.per_modality(N, NAMES, asked, 1).rates() == pytest.approx(asked, abs=0.018)


def test_a_modality_that_is_never_there():
    mask = missingness.per_modality(N, NAMES, {"audio": 1.0, "image": 0.5, "text": 0.5}, 0)
    assert not mask.mask[:, 0].any()
    assert mask.rates()["image"] == pytest.approx(0.5, abs=0.018)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.integers(0, 2**32 - 1))
def test_any_feasible_rates_are_met(asked, seed):
    names = [f"m{i}" for i in range(len(asked))]
    scale = min(1.0, (len(asked) - 1) / max(sum(asked), 1e-9))
    rates = {name: rate * scale for name, rate in zip(names, asked, strict=True)}
    mask = missingness.per_modality(4_000, names, rates, seed)
    assert mask.mask.any(axis=1).all()
    assert mask.rates() == pytest.approx(rates, abs=6 * np.sqrt(0.25 / 4_000))


def test_fixed_subset_is_the_same_in_every_row():
    mask = missingness.fixed_subset(4, NAMES, ["text", "audio"])
    assert mask.mask.tolist() == [[True, False, True]] * 4
    assert mask.recipe == {"kind": "fixed_subset", "keep": ["audio", "text"]}


def test_blocks_give_each_row_exactly_one_group():
    mask = missingness.blocks(1_000, NAMES, [["audio", "text"], ["image"]], 0, shares=[3, 1]).mask
    first = (mask == [True, False, True]).all(axis=1)
    second = (mask == [False, True, False]).all(axis=1)
    assert (first ^ second).all()
    assert (first.sum(), second.sum()) == (750, 250)


def test_absence_by_label_tells_the_classes_apart_and_keeps_the_mean_rate():
    mask = missingness.not_at_random(N, NAMES, 0.4, 0, by_label=LABELS)
    by_class = np.stack([1 - mask.mask[c == LABELS].mean(axis=0) for c in range(4)])
    assert mask.rates() == pytest.approx(dict.fromkeys(NAMES, 0.4), abs=0.018)
    assert (np.ptp(by_class, axis=0) > 0.4).all()
    for m, name in enumerate(NAMES):
        assert [str(c) for c in np.argsort(by_class[:, m])] == mask.recipe["class_order"][name]


def test_absence_by_value_rises_with_the_value():
    values = np.random.default_rng(0).lognormal(size=N)
    mask = missingness.not_at_random(N, NAMES, 0.3, 0, by_value=values)
    absent = 1 - mask.mask.mean(axis=1)
    low, high = values < np.median(values), values >= np.median(values)
    assert absent.mean() == pytest.approx(0.3, abs=0.018)
    assert absent[high].mean() > absent[low].mean() + 0.15


def test_a_row_without_label_or_value_has_the_mean_rate():
    labels = np.where(np.arange(N) % 2, np.nan, LABELS // 2)
    mask = missingness.not_at_random(N, NAMES, 0.4, 0, by_label=labels)
    assert (1 - mask.mask[np.isnan(labels)]).mean() == pytest.approx(0.4, abs=0.018)
    mask = missingness.not_at_random(
        N, NAMES, 0.4, 0, by_value=np.where(np.isnan(labels), np.nan, np.arange(N))
    )
    assert (1 - mask.mask[np.isnan(labels)]).mean() == pytest.approx(0.4, abs=0.018)


def test_natural_absence_is_kept_as_it_is_even_in_empty_rows():
    mask = missingness.natural({"a": [True, False], "b": [False, False]})
    assert mask.names == ("a", "b")
    assert mask.mask.tolist() == [[True, False], [False, False]]


# --- the mask as a thing ---------------------------------------------------------------------------------


def test_the_hash_changes_with_any_bit_name_or_shape():
    mask = missingness.completely_at_random(13, NAMES, 0.5, 0)
    hashes = {mask.sha256}
    for cell in np.ndindex(mask.mask.shape):
        flipped = mask.mask.copy()
        flipped[cell] = ~flipped[cell]
        hashes.add(PresenceMask(NAMES, flipped, mask.recipe).sha256)
    hashes.add(PresenceMask(NAMES[::-1], mask.mask, {}).sha256)
    hashes.add(PresenceMask(NAMES, mask.mask[:-1], {}).sha256)
    assert len(hashes) == 1 + 13 * 3 + 2


def test_a_mask_is_read_only_and_its_own():
    bits = np.ones((2, 3), dtype=bool)
    mask = PresenceMask(NAMES, bits, {})
    bits[0, 0] = False
    assert mask.mask.all()
    with pytest.raises(ValueError, match="read-only"):
        mask.mask[0, 0] = False


@pytest.mark.parametrize("n", [0, 1, 13])
def test_save_and_load(tmp_path, n):
    mask = missingness.completely_at_random(n, NAMES, 0.5, 7)
    mask.save(tmp_path / "mask.json")
    loaded = PresenceMask.load(tmp_path / "mask.json")
    assert loaded == mask
    assert loaded.recipe == mask.recipe
    np.testing.assert_array_equal(loaded.mask, mask.mask)


def test_a_changed_file_is_refused(tmp_path):
    path = tmp_path / "mask.json"
    mask = missingness.completely_at_random(64, NAMES, 0.5, 7)
    mask.save(path)
    content = json.loads(path.read_text())
    other = missingness.completely_at_random(64, NAMES, 0.5, 8)
    other.save(path)
    content["bits"] = json.loads(path.read_text())["bits"]
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"must fit its own SHA-256; .*mask.json says .* changed after"):
        PresenceMask.load(path)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"names": ["a"], "shape": [9, 1], "bits": "", "recipe": {}, "sha256": ""}', "\x80"],
)
def test_a_file_that_is_no_mask_is_refused(tmp_path, content):
    (tmp_path / "mask.json").write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"a presence mask is a JSON file written by PresenceMask.save"):
        PresenceMask.load(tmp_path / "mask.json")


# --- applying --------------------------------------------------------------------------------------------


def _some_of_each():
    return {
        "float": np.arange(6, dtype=np.float32).reshape(3, 2),
        "int": np.arange(3),
        "text": np.array(["a", "b", "c"]),
        "ragged": [np.ones((2, 1)), np.ones((5, 1)), None],
        "table": pd.DataFrame(
            {"n": [1, 2, 3], "c": pd.Categorical(["x", "y", "x"]), "b": [True, False, True]}
        ),
    }


def test_apply_leaves_raw_cells_what_they_are():
    X = {
        "image": np.arange(24, dtype=np.uint8).reshape(3, 2, 4),
        "text": np.array(["a", "b", "c"], dtype=object),
        "bytes": np.array([b"a", b"b", b"c"], dtype=object),
    }
    present = np.array([[True] * 3, [False] * 3, [True] * 3])
    blanked = missingness.apply(X, PresenceMask(tuple(X), present, {}))
    assert [cells[1] for cells in blanked.values()] == [None] * 3
    assert (blanked["text"][2], blanked["bytes"][0]) == ("c", b"a")
    np.testing.assert_array_equal(blanked["image"][2], X["image"][2])
    assert blanked["image"][0].dtype == np.uint8


def test_apply_blanks_the_absent_rows_of_copies():
    X = _some_of_each()
    before = _some_of_each()
    present = np.array([[True] * 5, [False] * 5, [True] * 5])
    blanked = missingness.apply(X, PresenceMask(tuple(X), present, {}))

    np.testing.assert_array_equal(blanked["float"], np.float32([[0, 1], [np.nan, np.nan], [4, 5]]))
    assert blanked["float"].dtype == np.float32
    np.testing.assert_array_equal(blanked["int"], [0.0, np.nan, 2.0])
    assert blanked["text"].tolist() == ["a", None, "c"]
    assert blanked["ragged"][1] is None
    assert blanked["ragged"][2] is None
    np.testing.assert_array_equal(blanked["ragged"][0], X["ragged"][0])
    assert blanked["table"].isna().to_numpy().tolist() == [[False] * 3, [True] * 3, [False] * 3]

    np.testing.assert_array_equal(X["float"], before["float"])
    assert X["ragged"][1] is not None
    pd.testing.assert_frame_equal(X["table"], before["table"])


def test_a_mask_only_removes():
    X = {"a": np.array([[np.nan], [1.0]]), "b": [None, np.ones(3)]}
    blanked = missingness.apply(X, missingness.fixed_subset(2, ["b", "a"], ["a", "b"]))
    np.testing.assert_array_equal(blanked["a"], X["a"])
    assert blanked["b"][0] is None


def test_a_blanked_series_is_absent_in_every_step():
    mask = missingness.natural({"s": [True, False]})
    blanked = missingness.apply({"s": np.ones((2, 4, 3))}, mask)["s"]
    assert np.isnan(blanked[1]).all()
    assert not np.isnan(blanked[0]).any()


# --- errors ----------------------------------------------------------------------------------------------

Y = np.zeros(5)
ERRORS = {
    "rate too high": (
        lambda: missingness.completely_at_random(5, NAMES, 0.7, 0),
        ConfigError,
        r"missing rate lies within 0\.\.0\.667 for 3 modalities.*0\.7 came",
    ),
    "negative rate": (lambda: missingness.completely_at_random(5, NAMES, -0.1, 0), ConfigError, "-0.1 came"),
    "too many complete": (
        lambda: missingness.completely_at_random(5, NAMES, 0.1, 0, n_complete=6),
        ConfigError,
        r"n_complete must lie within 0\.\.5.*6 came",
    ),
    "a rate is missing": (
        lambda: missingness.per_modality(5, NAMES, {"audio": 0.1}, 0),
        ConfigError,
        r"one rate for each of \['audio', 'image', 'text'\]; rates came for \['audio'\]",
    ),
    "rates too high": (
        lambda: missingness.per_modality(5, NAMES, dict.fromkeys(NAMES, 0.9), 0),
        ConfigError,
        "sum to at most 2",
    ),
    "empty subset": (lambda: missingness.fixed_subset(5, NAMES, []), ConfigError, "at least one of"),
    "unknown name": (lambda: missingness.fixed_subset(5, NAMES, ["smell"]), ConfigError, r"\['smell'\] came"),
    "overlapping blocks": (
        lambda: missingness.blocks(5, NAMES, [NAMES, ["text"]], 0),
        ConfigError,
        "exactly once",
    ),
    "an empty block": (lambda: missingness.blocks(5, NAMES, [NAMES, []], 0), ConfigError, "exactly once"),
    "bad shares": (
        lambda: missingness.blocks(5, NAMES, [NAMES], 0, shares=[1, 2]),
        ConfigError,
        "one positive share for each of its 1 groups",
    ),
    "no cause": (lambda: missingness.not_at_random(5, NAMES, 0.1, 0), ConfigError, "needs one cause"),
    "two causes": (
        lambda: missingness.not_at_random(5, NAMES, 0.1, 0, by_label=Y, by_value=Y),
        ConfigError,
        "both or neither",
    ),
    "labels of another length": (
        lambda: missingness.not_at_random(6, NAMES, 0.1, 0, by_label=Y),
        DataError,
        r"by_label needs one value a row, \(6,\); shape \(5,\) came",
    ),
    "a name twice": (lambda: missingness.fixed_subset(5, ["a", "a"], ["a"]), ConfigError, "each named once"),
    "wrong shape": (
        lambda: PresenceMask(NAMES, np.ones((5, 2)), {}),
        DataError,
        r"one column for each modality; 3 names came with an array of shape \(5, 2\)",
    ),
    "other modalities": (
        lambda: missingness.apply({"audio": Y}, missingness.fixed_subset(5, NAMES, NAMES)),
        DataError,
        r"X holds \['audio'\]",
    ),
    "other rows": (
        lambda: missingness.apply({"audio": Y}, missingness.fixed_subset(4, ["audio"], ["audio"])),
        DataError,
        "modality 'audio' has 5",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_the_rule_what_came_and_the_way_out(case):
    call, kind, text = ERRORS[case]
    with pytest.raises(kind, match=text):
        call()
