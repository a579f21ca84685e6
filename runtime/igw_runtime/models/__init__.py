"""What is served: packages on disk, labels, preprocessing, and how packages are made."""
