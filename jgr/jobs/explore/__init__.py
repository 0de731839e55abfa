"""What one does with a trained generator or autoencoder: grids, interpolations, neighbours, inversions, maps."""
