"""The losses of Robult as pure functions, and the diagnostics that read the same spaces.

Source: Robult (arXiv 2509.03477). A row is an *anchor* in the synergy space S and a *target* in the shared
space Z_i of one modality. With l_ab = log softmax over b of (s_a . z_b / temperature), unit vectors s and z,
the soft positive-unlabelled contrast is a weighted mean of -l_ab over pairs that share a (pseudo-)label.

    vectors.py         full precision, and vectors of unit length
    affinity.py        which pairs share labels, and how far
    reference.py       distances of true positive pairs, and what is kept of them
    weights.py         how far a pair that shares only a pseudo-label is trusted
    arrangement.py     a batch in the order in which the contrast walks over it
    walk.py            losses and gradients of the contrast, block by block of anchors
    contrast.py        the soft positive-unlabelled contrast, with its place in autograd
    reconstruction.py  mean squared error of rebuilt latents
    supervised.py      losses against labels, by kind of task
    info_nce.py        two views of a row among all others
    diagnostics.py     alignment and uniformity
"""

from polymodal.losses.contrast import ContrastTerms, soft_pu_contrast
from polymodal.losses.diagnostics import alignment, uniformity
from polymodal.losses.info_nce import symmetric_info_nce
from polymodal.losses.reconstruction import latent_reconstruction
from polymodal.losses.reference import Reference, reference_distances
from polymodal.losses.supervised import supervised_multiclass, supervised_multilabel, supervised_regression
from polymodal.losses.vectors import NORM_FLOOR
from polymodal.losses.weights import Weighting, pair_weights

__all__ = [
    "NORM_FLOOR",
    "ContrastTerms",
    "Reference",
    "Weighting",
    "alignment",
    "latent_reconstruction",
    "pair_weights",
    "reference_distances",
    "soft_pu_contrast",
    "supervised_multiclass",
    "supervised_multilabel",
    "supervised_regression",
    "symmetric_info_nce",
    "uniformity",
]
