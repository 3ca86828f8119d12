"""What two runs differ in, and whether they may be compared, from samples or manifests alone."""
