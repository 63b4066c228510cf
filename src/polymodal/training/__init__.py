"""Training: a method says what it minimises and in which stages, the loop does the rest.

Read in this order: ``settings``, ``rows`` (which rows a step sees), ``loop`` (the ladder from ``fit`` to
``train_step``), ``validation`` (what early stopping selects on), ``resume`` (checkpoints), and beside them
``run`` (what the steps share), ``precision`` and ``log``.

Letters: B rows of a batch, M modalities, C outputs.
"""

from polymodal.training.loop import fit
from polymodal.training.settings import TrainingConfig, choose_device

__all__ = ["TrainingConfig", "choose_device", "fit"]
