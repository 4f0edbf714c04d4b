"""Scripts that make what results/ holds: each is one command, and says so in its first line."""
