"""WESAD from files of the published form, as Python 2 wrote them: windows, rates, states, traps."""

import numpy as np
import pytest

from old_pickles import dumps
from polymodal import RobultClassifier
from polymodal.data import public
from polymodal.data.public.wesad import CHEST, SUBJECTS, WRIST
from polymodal.data.readers import load
from polymodal.errors import DataError
from polymodal.schema import Series

STATES = [(0, 7.3), (1, 130.0), (0, 2.2), (2, 61.4), (4, 70.0), (3, 59.0), (6, 5.0), (3, 60.9)]
"""State and seconds: windows in full minutes of 1, 2 and 3 that begin at a full second."""

CUTS = [(8, 0), (68, 0), (140, 1), (335, 2)]
"""First second and class of each window, by hand."""

N_SECONDS = round(sum(seconds for _, seconds in STATES)) + 1


def recording(subject, change=lambda held: None):
    """Each sensor's value at second s is s + its column / 10 + its subject / 1000."""

    def sensor(rate, width):
        seconds = np.arange(N_SECONDS * rate) / rate
        return seconds[:, None] + np.arange(width) / 10 + subject / 1000

    label = np.concatenate([np.full(round(seconds * 700), state) for state, seconds in STATES])
    held = {
        "signal": {
            "chest": {name: sensor(700, 3 if name == "ACC" else 1) for name in CHEST},
            "wrist": {name: sensor(rate, 3 if name == "ACC" else 1) for name, rate in WRIST.items()},
        },
        "label": label.astype(np.int32),
        "subject": f"S{subject}",
    }
    change(held)
    return held


def write(folder, change=lambda held: None, subjects=SUBJECTS):
    for subject in subjects:
        (folder / f"S{subject}").mkdir(parents=True)
        (folder / f"S{subject}" / f"S{subject}.pkl").write_bytes(dumps(recording(subject, change)))


def without_chest(held):
    held["signal"]["chest"] = {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("wesad")
    write(path / "wesad_raw", without_chest)
    return path


def test_wrist_sensors_come_at_their_own_rates(folder):
    data = load("wesad_raw", folder)
    assert data.modalities == {f"wrist_{name}": Series() for name in ("acc", "bvp", "eda", "temp")}
    n = len(SUBJECTS) * len(CUTS)
    assert {name: values.shape for name, values in data.X.items()} == {
        "wrist_acc": (n, 1920, 3),
        "wrist_bvp": (n, 3840, 1),
        "wrist_eda": (n, 240, 1),
        "wrist_temp": (n, 240, 1),
    }
    for row, (second, state) in enumerate(CUTS):
        assert data.y[row] == state
        assert data.groups[row] == 2
        for values in data.X.values():
            seconds = second + np.arange(values.shape[1]) * 60 / values.shape[1] + 0.002
            np.testing.assert_allclose(values[row, :, 0], seconds, rtol=1e-6)
    np.testing.assert_allclose(data.X["wrist_acc"][..., 2] - data.X["wrist_acc"][..., 0], 0.2, atol=1e-4)


def test_split_by_subject(folder):
    data = load("wesad_raw", folder)
    assert data.classes == ("baseline", "stress", "amusement")
    assert data.splits == {}
    train, test = data.train_test(0)
    assert not set(data.groups[train]) & set(data.groups[test])
    assert sorted({int(subject) for subject in data.groups}) == list(SUBJECTS)


def test_it_trains(folder):
    data = load("wesad_raw", folder)
    train, test = data.train_test(0)
    X, y = data.rows(train)
    kept = {name: data.modalities[name] for name in ("wrist_eda", "wrist_temp")}
    X = {name: X[name][:, ::10] for name in kept}
    model = RobultClassifier(kept, max_epochs=1, random_state=0).fit(X, y)
    assert len(model.predict({name: data.X[name][test, ::10] for name in kept})) == len(test)


def test_steps_of_the_chest_are_means(tmp_path, monkeypatch):
    monkeypatch.setattr("polymodal.data.public.wesad.SUBJECTS", (2,))
    write(tmp_path, subjects=(2,))
    both, chest = (public.read("wesad_raw", tmp_path, variant) for variant in ("both", "chest"))
    assert list(chest.X) == [f"chest_{name.lower()}" for name in CHEST]
    assert set(both.X) == set(chest.X) | {f"wrist_{name.lower()}" for name in WRIST}
    for name, rate in CHEST.items():
        values = chest.X[f"chest_{name.lower()}"]
        assert values.shape == (len(CUTS), 60 * rate, 3 if name == "ACC" else 1)
        np.testing.assert_array_equal(values, both.X[f"chest_{name.lower()}"])
        n = 700 // rate
        samples = 8 + np.arange(60 * 700) / 700 + 0.002
        means = [samples[i * n : (i + 1) * n].mean() for i in range(60 * rate)]
        np.testing.assert_allclose(values[0, :, 0], means, rtol=1e-6)


def test_a_missing_subject_is_named(tmp_path):
    write(tmp_path, without_chest, subjects=(2, 3))
    with pytest.raises(
        DataError, match=r"wesad_raw is read from the file .*S4\.pkl; there is none; get it from"
    ):
        public.read("wesad_raw", tmp_path)
    wrong = [finding.what for finding in public.check("wesad_raw", tmp_path) if not finding.is_right]
    assert wrong == [f"S{subject}/S{subject}.pkl is missing" for subject in SUBJECTS[2:]]


def test_check_counts_rows(folder):
    assert public.check("wesad_raw", folder / "wesad_raw")[-1] == public.Finding(
        True, "60 rows; no number is published"
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda held: held.pop("label"), r"'label' is missing in .*S2\.pkl"),
        (lambda held: held["signal"].pop("wrist"), r"'wrist' is missing"),
        (lambda held: held["signal"]["wrist"].pop("BVP"), r"'BVP' is missing"),
        (
            lambda held: held["signal"]["wrist"].update(EDA=np.zeros((900, 1))),
            r"wrist/EDA in .*S2\.pkl has 900 samples, 1,580 are needed",
        ),
        (lambda held: held.update(signal=3), r"maps names to values; .* holds a int"),
    ],
)
def test_what_a_damaged_recording_lacks_is_said(change, text, tmp_path):
    def spoil(held):
        without_chest(held)
        change(held)

    write(tmp_path, spoil, subjects=(2,))
    with pytest.raises(DataError, match=text):
        public.read("wesad_raw", tmp_path)
