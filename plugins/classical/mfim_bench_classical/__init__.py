"""Classical face swaps."""
