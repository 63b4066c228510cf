"""MM-IMDb in the files of its archive: split.json, and a JSON and a JPEG for each film."""

import json

import numpy as np
import pytest

from pictures import write_picture
from polymodal.data import public
from polymodal.data.public.mmimdb import GENRES
from polymodal.errors import DataError

FILMS = {
    "0133093": (["A short one.", "A hacker learns that his world is not one."], ["Action", "Sci-Fi"]),
    "0042192": (["An actress is admired.::an author"], ["Drama"]),
    "0036775": (["An insurance man tells all."], ["Crime", "Drama", "Film-Noir"]),
    "0000001": (["News of the day."], ["News", "Short"]),
}
SPLIT = {"train": ["0133093", "0042192"], "dev": ["0036775"], "test": ["0000001"]}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "split.json").write_text(json.dumps(SPLIT))
    for film, (plots, genres) in FILMS.items():
        write_picture(tmp_path / f"dataset/{film}.jpeg")
        described = {"title": film, "plot": plots, "genres": genres, "year": 1999, "rating": 8.7}
        (tmp_path / f"dataset/{film}.json").write_text(json.dumps(described))
    return tmp_path


def test_the_longest_plot_is_the_text(folder):
    data = public.read("mmimdb", folder)
    assert list(data.X["text"]) == [max(plots, key=len) for plots, _ in FILMS.values()]
    assert [path.name for path in data.X["image"]] == [f"{film}.jpeg" for film in FILMS]


def test_genres_are_labels_and_others_are_ignored(folder):
    data = public.read("mmimdb", folder)
    assert data.y.shape == (4, len(GENRES)) == (4, 23)
    assert [{GENRES[c] for c in np.flatnonzero(row)} for row in data.y] == [
        *({"Action", "Sci-Fi"}, {"Drama"}, {"Crime", "Drama", "Film-Noir"}, {"Short"})
    ]


def test_dev_is_the_validation_part(folder):
    (split,) = public.read("mmimdb", folder).splits.values()
    assert {part: list(rows) for part, rows in split.items()} == {"train": [0, 1], "valid": [2], "test": [3]}


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("split.json", '{"train": [], "dev": []}', "holds train, dev, test; 'test' is missing in"),
        ("split.json", "{", "split.json of mmimdb is JSON in UTF-8; .* is not"),
        ("dataset/0042192.json", '{"genres": ["Drama"]}', "holds plot, genres; 'plot' is missing in"),
        ("dataset/0042192.json", '{"genres": ["Drama"], "plot": []}', "0042192.json has none; get it from"),
    ],
)
def test_a_damaged_file_is_one_sentence(folder, file, content, words):
    (folder / file).write_text(content)
    with pytest.raises(DataError, match=words):
        public.read("mmimdb", folder)


def test_missing_posters_are_counted_and_named(folder):
    (folder / "dataset/0036775.jpeg").unlink()
    with pytest.raises(DataError, match=r"1 of 4 are not there, first dataset/0036775.jpeg; get them from"):
        public.read("mmimdb", folder)


def test_check_counts_the_rows(folder):
    found = {finding.what: finding.is_right for finding in public.check("mmimdb", folder)}
    assert found["split.json is there"] is True
    assert found["valid: 1 rows, 2,608 published"] is False
