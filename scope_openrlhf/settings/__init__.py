"""What a user may set, and what it resolves to."""
