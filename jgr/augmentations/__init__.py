"""What is done to images before a discriminator sees them, so that it does not learn the training set by heart."""
