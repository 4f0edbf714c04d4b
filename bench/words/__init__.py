"""How things are said: numbers as text, and what others wrote made safe to show. Knows no results."""
