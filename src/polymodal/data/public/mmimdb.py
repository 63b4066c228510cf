"""MM-IMDb: genres of films from plot and poster."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from polymodal.data.public import files
from polymodal.data.public.base import PublicSet
from polymodal.data.readers import Dataset
from polymodal.errors import DataError
from polymodal.schema import Image, Text

GENRES = (
    "Drama",
    "Comedy",
    "Romance",
    "Thriller",
    "Crime",
    "Action",
    "Adventure",
    "Horror",
    "Documentary",
    "Mystery",
    "Sci-Fi",
    "Fantasy",
    "Family",
    "Biography",
    "War",
    "History",
    "Music",
    "Animation",
    "Musical",
    "Western",
    "Sport",
    "Short",
    "Film-Noir",
)
"""Most frequent first."""


def _read(folder: Path, _: str | None) -> Dataset:
    file = MMIMDB.path(folder, "split.json")
    train, valid, test = files.fields(MMIMDB, file, files.read_json(MMIMDB, file), ("train", "dev", "test"))
    films = [*train, *valid, *test]
    MMIMDB.path(folder, "dataset/")
    described = files.paths(MMIMDB, folder, [f"dataset/{film}.json" for film in films])
    plots, genres = zip(*map(_film, described), strict=True)
    return files.dataset(
        MMIMDB,
        X={
            "text": files.column(plots),
            "image": files.paths(MMIMDB, folder, [f"dataset/{film}.jpeg" for film in films]),
        },
        y=np.array([[genre in own for genre in GENRES] for own in genres], dtype=np.float64),
        modalities={"text": Text(), "image": Image()},
        classes=GENRES,
        groups=None,
        splits={
            "published": files.consecutive({"train": len(train), "valid": len(valid), "test": len(test)})
        },
    )


def _film(file: Path) -> tuple[str, list[str]]:
    """The longest plot, which is the one that the set's authors take, and the genres."""
    plots, genres = files.fields(MMIMDB, file, files.read_json(MMIMDB, file), ("plot", "genres"))
    if not plots:
        raise DataError(f"a film of {MMIMDB.name} has a plot; {file} has none; get it from {MMIMDB.source}.")
    return max(plots, key=len), genres


MMIMDB = PublicSet(
    name="mmimdb",
    title="MM-IMDb: 23 genres of 25,959 films, from plot and poster",
    task="multilabel",
    modalities=("text: Text", "image: Image"),
    metrics=("macro_f1", "weighted_f1", "micro_f1"),
    n_rows={"train": 15552, "valid": 2608, "test": 7799},
    source="https://github.com/johnarevalo/gmu-mmimdb (http://lisi1.unal.edu.co/mmimdb/mmimdb.tar.gz)",
    licence="not stated by the authors; plots and posters are those of IMDb",
    citation="Arevalo et al., Gated Multimodal Units for Information Fusion, ICLR 2017 workshop, "
    "arXiv:1702.01992",
    layout=("split.json", "dataset/"),
    notes="A film has several plots: the longest is taken, as its authors do; others take the first. "
    "Genres beyond the 23 (News, Reality-TV, Talk-Show, Adult) are ignored and their films kept, while "
    "some published figures leave out films with News. The sizes of the three parts add up to the "
    "published 25,959; each alone is not verified.",
    read=_read,
)
