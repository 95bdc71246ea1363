"""What a person reads about a model: tables, findings, TensorBoard files, the page."""
