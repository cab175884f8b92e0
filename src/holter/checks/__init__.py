"""What judges snapshots and observations. Each module knows only its own question."""
