"""What each modality tells alone and what with others, as a table and pictures in ./partition/.

Run: python examples/explain_partition.py
"""

import numpy as np

from polymodal import PgMClassifier, explanation, load_dataset

digits = load_dataset("mfeat")  # drawn digits, described in several ways
X, y = digits.rows(np.random.default_rng(0).permutation(2000)[:400])
X = {name: X[name] for name in ("fou", "zer", "mor")}  # Fourier, Zernike and morphological descriptions

model = PgMClassifier(max_epochs=10, batch_size=64, n_iterations=1, random_state=0, floors=False).fit(X, y)
table, files = explanation.write(model, X, "partition", dataset="mfeat")
print(table[["modality", "uni", "paired", "shared", "unassigned"]].round(2).to_string(index=False))
print("Written to partition/:", ", ".join(files))
