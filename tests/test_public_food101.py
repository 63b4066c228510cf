"""UPMC Food-101: pictures by dish, with titles in tables or with the texts of whole pages."""

import pytest

from pictures import write_picture
from polymodal.data import public
from polymodal.errors import DataError

PICTURES = {
    "train": [
        "apple_pie/apple_pie_0.jpg",
        "apple_pie/apple_pie_10.jpg",
        "fish_and_chips/fish_and_chips_3.jpg",
    ],
    "test": ["fish_and_chips/fish_and_chips_7.jpg"],
}
TITLES = {
    "train": 'apple_pie_0.jpg,"Apple Pie, with a crust",apple_pie\napple_pie_10.jpg,,apple_pie\n'
    "fish_and_chips_3.jpg,None,fish_and_chips\n",
    "test": "fish_and_chips_7.jpg,Fish & Chips | a blog,fish_and_chips\n",
}


@pytest.fixture
def folder(tmp_path):
    for part, names in PICTURES.items():
        for name in names:
            write_picture(tmp_path / "images" / part / name)
    (tmp_path / "texts").mkdir()
    for part, lines in TITLES.items():
        (tmp_path / f"texts/{part}_titles.csv").write_text(lines, encoding="utf-8")
    for page in (
        "apple_pie/apple_pie_0",
        "fish_and_chips/fish_and_chips_3",
        "fish_and_chips/fish_and_chips_7",
    ):
        file = tmp_path / "texts_txt" / f"{page}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"All of\n{page} \u2013 it's long.", encoding="utf-8")
    return tmp_path


def test_titles_are_texts_as_written(folder):
    data = public.read("food101", folder)
    assert list(data.X["text"]) == ["Apple Pie, with a crust", "", "None", "Fish & Chips | a blog"]
    assert [path.relative_to(folder).as_posix() for path in data.X["image"]] == [
        *(f"images/train/{name}" for name in PICTURES["train"]),
        *(f"images/test/{name}" for name in PICTURES["test"]),
    ]


def test_dishes_are_classes_and_the_parts_are_the_split(folder):
    data = public.read("food101", folder)
    assert data.classes == ("apple_pie", "fish_and_chips")
    assert list(data.y) == [0, 0, 1, 1]
    (split,) = data.splits.values()
    assert {part: list(rows) for part, rows in split.items()} == {"train": [0, 1, 2], "test": [3]}


def test_a_picture_without_a_page_is_left_out(folder):
    data = public.read("food101", folder, "pages")
    assert [path.name for path in data.X["image"]] == [
        *("apple_pie_0.jpg", "fish_and_chips_3.jpg", "fish_and_chips_7.jpg")
    ]
    assert data.X["text"][0] == "All of\napple_pie/apple_pie_0 \u2013 it's long."
    assert list(data.y) == [0, 1, 1]


def test_bytes_of_a_crawled_page_that_are_no_text_do_not_stop_it(folder):
    (folder / "texts_txt/apple_pie/apple_pie_0.txt").write_bytes(b"a caf\xe9")
    assert public.read("food101", folder, "pages").X["text"][0] == "a caf�"


def test_a_picture_that_a_title_names_must_be_there(folder):
    (folder / "images/train/apple_pie/apple_pie_10.jpg").unlink()
    with pytest.raises(
        DataError, match=r"1 of 4 are not there, first images/train/apple_pie/apple_pie_10.jpg"
    ):
        public.read("food101", folder)


def test_a_variant_whose_files_are_missing_says_which(folder):
    (folder / "texts/test_titles.csv").unlink()
    with pytest.raises(DataError, match=r"food101 is read from the file .*test_titles.csv; there is none"):
        public.read("food101", folder)
    (folder / "texts_txt").rename(folder / "pages")
    with pytest.raises(DataError, match=r"food101 is read from the folder .*texts_txt; there is none"):
        public.read("food101", folder, "pages")


def test_pages_that_belong_to_no_picture_are_an_error(folder):
    for page in (folder / "texts_txt/fish_and_chips").iterdir():
        page.rename(page.with_name(f"other_{page.name}"))
    with pytest.raises(DataError, match=r"images/test/DISH/DISH_N.jpg; none of those in .* has one"):
        public.read("food101", folder, "pages")


def test_check_tells_the_rows_where_no_number_is_published(folder):
    found = public.check("food101", folder)
    assert found[-1].is_right
    assert found[-1].what == "4 rows; no number is published"


def test_check_looks_for_the_variant_s_own_files(folder):
    (folder / "texts_txt").rename(folder / "somewhere")
    wrong = [finding.what for finding in public.check("food101", folder, "pages") if not finding.is_right]
    assert wrong == ["texts_txt/ is missing"]
    assert all(finding.is_right for finding in public.check("food101", folder, "titles"))
