"""From a data set to the immutable plan of a run, before the first task is sent."""
