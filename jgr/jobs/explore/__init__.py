"""What one does with a trained generator: grids, interpolations, mixtures, nearest neighbours, inversions."""
