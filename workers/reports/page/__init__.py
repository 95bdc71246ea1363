"""`report.html`: what it lists, its data, and the style and scripts that draw it."""
