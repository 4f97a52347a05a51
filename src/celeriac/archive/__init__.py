"""The event log in Parquet files, and replays from them."""

SERVICE = "archive"  # the service of the handlers of archives
