"""A report of a fitted model: one page that needs nothing but a browser.

seen.py      the rows, and what the model and its floors predict for them, found once
facts.py     everything that is shown, as tables and sentences
headline.py  what it says first
words.py     figures in words
svg.py       shapes and axes
charts.py    from tables to pictures
html.py      tables, figures and sections
sections/    from facts to the sections of the page
page.py      the whole page; page.css and page.js are part of it
terminal.py  the same in short
"""

from polymodal.report.facts import Facts, Topic, gather
from polymodal.report.page import write
from polymodal.report.terminal import show

__all__ = ["Facts", "Topic", "gather", "show", "write"]
