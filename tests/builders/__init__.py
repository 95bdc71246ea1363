"""What tests build with, by subject: fixtures are in conftest, tests in test modules."""
