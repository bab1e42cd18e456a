"""Whether methods and networks keep the contract of the interface."""
