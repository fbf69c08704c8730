"""`chainHead_v1_*`: the story of the chain's head, told to followers, and reads at its blocks."""
