"""The committee: unlike models of each modality, one pool of them, and generations that teach the next.

linear.py       ridge regressions on soft targets
forest.py       randomised trees on soft targets, as tensors
members.py      the models of one modality, and those of all at once
pool.py         their scores as one prediction, for any part of the modalities
generations.py  learning: cross-validated teachers and students, and which generation is kept
method.py       the method
"""
