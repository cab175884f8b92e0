"""What ships snapshots and alerts. Each module knows only its own destination."""
