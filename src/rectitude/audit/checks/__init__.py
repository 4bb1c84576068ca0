"""Checks of a recommender run: each returns findings with intervals, a floor and a verdict."""
