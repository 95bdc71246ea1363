"""Hands a finished model out in the formats of other tools, the files of the codelab among them."""
