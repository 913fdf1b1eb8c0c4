"""Parts of bench/powercut."""
