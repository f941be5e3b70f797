"""One trial under way."""
