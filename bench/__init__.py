"""The harness: what is asked, what does it, what is made of the scores, and the command line."""
