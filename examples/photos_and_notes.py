"""From a folder of photos and notes to predictions.

FOLDER/cat/1.jpg and FOLDER/cat/1.txt are a photo of a thing and a note on it, and its label is cat; either
may be missing. Things in FOLDER/unsorted/ have no label: they help in training, and get a prediction in
FOLDER/predictions.csv. Run: python examples/photos_and_notes.py FOLDER
"""

import sys
from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split

from polymodal import Image, MultimodalClassifier, Text

folder, things = Path(sys.argv[1]), {}
for path in sorted(folder.glob("*/*")):
    name, label = str(path.relative_to(folder).with_suffix("")), path.parent.name
    thing = things.setdefault(name, {"label": None if label == "unsorted" else label})
    if path.suffix == ".txt":
        thing["note"] = path.read_text()
    else:
        thing["photo"] = path
table = pd.DataFrame.from_dict(things, orient="index")  # what a thing lacks is NaN: absent
labelled = table["label"].notna()
train, test = train_test_split(table[labelled], stratify=table["label"][labelled], random_state=0)
train = pd.concat([train, table[~labelled]])

model = MultimodalClassifier({"photo": Image(on_corrupt="absent"), "note": Text()}, random_state=0)
model.fit(train, train["label"])
report = model.subset_report(test, test["label"], metrics=["accuracy"])
print(report.pivot_table("value", "subset", "method").round(2))  # photo, note, both; beside two floors

found = pd.DataFrame(model.predict_proba(table[~labelled]), table.index[~labelled], model.classes_)
found.insert(0, "prediction", found.idxmax(axis=1))
found.to_csv(folder / "predictions.csv", float_format="%.3f")
print(f"{len(found)} predictions are in {folder / 'predictions.csv'}")
