"""Exports a finished model to the formats of other tools, such as the files of the codelab."""
