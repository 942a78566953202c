"""Files to arrays: reading, indexing, copies, splits, canvas, generated heads."""
