"""Studies of what the decoupled teacher and the decaying ensemble do: one seedable function each."""
