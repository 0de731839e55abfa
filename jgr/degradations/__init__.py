"""What spoils images: for training on the device, and as frozen protocols for evaluation."""
