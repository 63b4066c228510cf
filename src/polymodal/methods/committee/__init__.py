"""The committee: unlike models of each modality, one pool of them, and generations that teach the next.

linear.py       ridge regressions on soft targets
forest.py       randomised trees on soft targets, as tensors
members.py      the models of one modality, and those of all at once
sequences.py    numbers that tell of the order in a sequence
interactions.py what pairs of modalities tell only together
evidence.py     what presence itself tells
pool.py         their scores as one prediction, for any part of the modalities
teams.py        who learns from which rows: all labelled ones, and those of each fold
judging.py      what held-out labels say of the teams, and which members are worth having
neighbours.py   what is said of rows that are alike, where nothing judges a teacher
generations.py  learning: teachers and students, and which generation is kept
method.py       the method
"""
