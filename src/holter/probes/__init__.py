"""What user code wears: probes for calls, streams, blocks, training and single figures."""
