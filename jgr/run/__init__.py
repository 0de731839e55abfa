"""A run's folder: its config, manifest, metrics, results, pictures, and the lock that one training holds."""
