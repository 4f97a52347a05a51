"""Tools for those that develop celeriac. None of them is in the wheel."""
