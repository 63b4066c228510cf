"""From facts to the sections of the page: what each one shows, and in which words.

columns.py     columns that several sections show, and the styles of the model and its reference
overview.py    at the top: the figures that matter most, every usual metric
robustness.py  every combination of inputs, and as inputs go missing
worth.py       what each input is worth
trust.py       calibration and coverage
inside.py      the shared space, information, partition
training.py    training and health
given.py       rows, settings and versions
registry.py    which sections there are, their headings and their order
"""

from polymodal.report.sections.overview import methods_table, tiles
from polymodal.report.sections.registry import rendered, title_of

__all__ = ["methods_table", "rendered", "tiles", "title_of"]
