"""The pages of open questions hold the tables that their JSON gives."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "experiments" / "questions"


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("questions_pages", FOLDER / "pages.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_each_page_are_those_of_the_json(pages):
    assert pages.PAGES
    for page in pages.PAGES:
        text = page.read_text()
        assert pages.MARKED.search(text)
        assert pages.filled(text) == text, f"{page.name}: questions/pages.py writes it anew"


def test_every_table_stands_on_a_page(pages):
    named = [name for page in pages.PAGES for _, name, _ in pages.MARKED.findall(page.read_text())]
    assert sorted(named) == sorted(pages.TABLES)


def test_every_picture_stands_on_a_page(pages):
    shown = re.findall(
        r"\(\.\./experiments/questions/(\w+)\.svg\)", " ".join(p.read_text() for p in pages.PAGES)
    )
    assert sorted(shown) == sorted(pages.PICTURES)
    assert all((FOLDER / f"{name}.svg").exists() for name in shown)


def test_the_index_leads_to_every_page(pages):
    index = (ROOT / "docs" / "questions.md").read_text()
    assert [page.name for page in pages.PAGES if f"({page.name})" not in index] == []


def test_a_difference_is_bold_where_it_is_larger_than_its_deviation(pages):
    assert pages.with_sign((0.02, 0.01)) == "**+0.020 ± 0.010**"
    assert pages.with_sign((-0.01, 0.02)) == "-0.010 ± 0.020"
    assert pages.marked([(0.9, 0.01), (0.895, 0.001), (0.5, 0.1)], True) == [
        "**0.900 ± 0.010**",
        "*0.895 ± 0.001*",
        "0.500 ± 0.100",
    ]
