"""A realistic population: people who know each other, as rows, into any database."""
