"""Rules that make a recorded step shorter: each a function that changes a program in place."""
