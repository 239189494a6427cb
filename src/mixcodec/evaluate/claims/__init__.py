"""What published parts are said to do, measured on real speech: one command a claim, which prints a table."""
