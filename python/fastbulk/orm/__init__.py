"""The one room that knows the mapper."""
