"""What operating systems keep in entries that the MMU does not take, one file a system and architecture."""
