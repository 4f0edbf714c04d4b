"""How long things take, beside what one would run instead."""
