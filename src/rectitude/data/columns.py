"""The names of columns, written once."""

USER = "user"
ITEM = "item"
TIMESTAMP = "timestamp"
POSITION = "position"
RATING = "rating"
SPLIT = "split"
SESSION = "session"
BEHAVIOR = "behavior"
SCENARIO = "scenario"

USER_ID = "user_id"
ITEM_ID = "item_id"
TITLE = "title"
RANK = "rank"
SCORE = "score"

OPTIONAL = (TIMESTAMP, RATING, SPLIT, SESSION, BEHAVIOR, SCENARIO)
"""Columns an interactions table may have besides user and item."""
