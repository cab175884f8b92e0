"""What polls values at its own interval: the process, the host. Each module knows only its own system."""
