"""The command line and the files of the codelab's retrain.py."""
