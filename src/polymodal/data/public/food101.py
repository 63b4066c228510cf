"""UPMC Food-101: dishes from a picture and the text of its web page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from polymodal.data.public import files
from polymodal.data.public.base import PublicSet
from polymodal.data.readers import Dataset
from polymodal.errors import DataError
from polymodal.schema import Image, Text

PARTS = ("train", "test")
COLUMNS = ("image", "text", "dish")


def _read(folder: Path, variant: str | None) -> Dataset:
    rows_of = _titled if variant == "titles" else _paged
    parts = {part: rows_of(folder, part) for part in PARTS}
    table = pd.concat(list(parts.values()), ignore_index=True)
    codes, dishes = pd.factorize(table["dish"], sort=True)
    return files.dataset(
        FOOD101,
        X={
            "text": files.column(table["text"]),
            "image": files.paths(FOOD101, folder, list(table["image"])),
        },
        y=codes.astype(np.int64),
        modalities={"text": Text(), "image": Image()},
        classes=tuple(dishes),
        groups=None,
        splits={"published": files.consecutive({part: len(own) for part, own in parts.items()})},
    )


def _titled(folder: Path, part: str) -> pd.DataFrame:
    """Rows of one part, the text being the title of the page: a table without a header."""
    file = FOOD101.path(folder, f"texts/{part}_titles.csv")
    table = files.read_csv(FOOD101, file, COLUMNS, header=False)
    return table.assign(image=f"images/{part}/" + table["dish"] + "/" + table["image"])


def _paged(folder: Path, part: str) -> pd.DataFrame:
    """Rows of one part, the text being that of the whole page; a picture without a page is left out."""
    FOOD101.path(folder, "texts_txt/")
    rows = [
        (f"images/{part}/{dish.name}/{image}", page.read_text(encoding="utf-8", errors="replace"), dish.name)
        for dish in _folders(FOOD101.path(folder, f"images/{part}/"))
        for image, page in _pages(folder, dish)
    ]
    if not rows:
        raise DataError(
            f"{FOOD101.name} has a text texts_txt/DISH/DISH_N.txt for a picture "
            f"images/{part}/DISH/DISH_N.jpg; none of those in {folder} has one; get them from "
            f"{FOOD101.source}."
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _pages(folder: Path, dish: Path) -> list[tuple[str, Path]]:
    """Pictures of a dish that have a page, and the page."""
    images = sorted(image.name for image in dish.iterdir())
    page_of = {image: f"{Path(image).stem}.txt" for image in images}
    gone = set(files.missing(folder / "texts_txt", [f"{dish.name}/{page}" for page in page_of.values()]))
    return [
        (image, folder / "texts_txt" / dish.name / page)
        for image, page in page_of.items()
        if f"{dish.name}/{page}" not in gone
    ]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


FOOD101 = PublicSet(
    name="food101",
    title="UPMC Food-101: 101 dishes, from a picture and the text of its web page",
    task="multiclass",
    modalities=("text: Text", "image: Image"),
    metrics=("accuracy", "macro_f1"),
    n_rows={},
    source="titles: https://www.kaggle.com/datasets/gianmarco96/upmcfood101; pages: "
    "http://visiir.lip6.fr/explore",
    licence="not stated; pictures and texts are of web pages",
    citation="Wang et al., Recipe Recognition with Large Multimodal Food Dataset, ICME workshop 2015; "
    "titles: Gallo et al., Image and Text Fusion for UPMC Food-101 Using BERT and CNNs, IVCNZ 2020",
    layout=("images/train/", "images/test/"),
    layouts={
        "titles": tuple(f"texts/{part}_titles.csv" for part in PARTS),
        "pages": ("texts_txt/",),
    },
    variants=("titles", "pages"),
    notes="Figures on titles and on pages do not compare. In pages a picture without a text is left out, "
    "as MMBT does. There is no published validation part: MMBT draws 5,000 training rows. The numbers of "
    "rows that papers give differ and none is verified. Labels are search terms and are noisy. This is not "
    "the Food-101 of ETH Zurich, whose classes it shares.",
    read=_read,
)
