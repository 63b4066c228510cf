"""A partition between two frozen encoders and a head of one's own, in a plain PyTorch loop.

Two networks with random weights stand in for pretrained encoders. Run: python examples/partitioned_fusion.py
"""

import numpy as np
import torch
from torch import Tensor, nn

from polymodal import PartitionedFusion, load_dataset

WIDTHS = {"fou": 96, "zer": 64}  # of the encoders' outputs
SUBSETS = (["fou", "zer"], ["fou"], ["zer"])


class Model(nn.Module):
    """A head on the encoders' outputs side by side, or on what the block makes of them."""

    def __init__(self, block: PartitionedFusion | None) -> None:
        super().__init__()
        self.block = block
        width = 2 * len(WIDTHS) * 32 if block else sum(WIDTHS.values())
        self.head = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, given: dict[str, Tensor]) -> tuple[Tensor, Tensor | float]:
        """Logits (B, 10), and how badly the parts rebuild the representations."""
        if self.block:
            parts = self.block(given)  # a modality that is not given is absent
            return self.head(parts.features), parts.reconstruction_loss()
        n = len(next(iter(given.values())))
        outputs = [given.get(name, torch.zeros(n, width)) for name, width in WIDTHS.items()]
        return self.head(torch.cat(outputs, dim=1)), 0.0


torch.manual_seed(0)
X, y = load_dataset("mfeat").rows(np.arange(2000))  # drawn digits: Fourier coefficients and Zernike moments
y, order = torch.from_numpy(y), torch.randperm(2000)
train, test = order[:1000], order[1000:]
encoded = {}
for name, width in WIDTHS.items():
    x = torch.from_numpy(X[name]).float()
    encoder = nn.Sequential(nn.Linear(x.shape[1], width), nn.Tanh()).requires_grad_(False)
    encoded[name] = encoder((x - x[train].mean(0)) / x[train].std(0))  # frozen, so once is enough

for title, block in {"without": None, "with": PartitionedFusion(WIDTHS, d=32, n_iterations=2)}.items():
    model = Model(block)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(240):
        rows = train[torch.randint(len(train), (128,))]
        logits, rebuilt = model({name: encoded[name][rows] for name in SUBSETS[step % 3]})
        optimiser.zero_grad()
        (nn.functional.cross_entropy(logits, y[rows]) + rebuilt).backward()
        optimiser.step()
    model.eval()  # from here on masks are hard
    for names in SUBSETS:
        logits, _ = model({name: encoded[name][test] for name in names})
        right = logits.argmax(1) == y[test]
        print(f"{title} the block, {' and '.join(names)}: accuracy {right.float().mean():.3f}")
