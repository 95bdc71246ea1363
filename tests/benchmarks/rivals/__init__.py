"""One way each from photographs to bottlenecks, as its experts would write it.

Each is a program: ``python -m tests.benchmarks.rivals.NAME MATERIAL [HOW]``. It prints one
line of JSON; see `tests.benchmarks.rivals.meter`.
"""
