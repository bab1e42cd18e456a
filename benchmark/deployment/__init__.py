"""A trained student to take away: exported, loaded and asked."""
