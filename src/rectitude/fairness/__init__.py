"""Who is served worse, and training methods that serve them better."""
