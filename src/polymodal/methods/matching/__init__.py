"""A committee for retrieval: unlike common spaces side by side in one.

canonical.py   canonical components of the columns, and of random features of them
towers.py      small networks that tell pairs from other rows
pool.py        how much each space counts, learnt on pairs that none of them saw
method.py      the method
"""
