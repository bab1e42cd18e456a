"""What a machine has, and what its device computes and how fast."""
