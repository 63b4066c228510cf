"""The data door and what is made with it: cells with presence, labels, preprocessing, masks, splits."""
