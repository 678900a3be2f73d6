"""What people look at: text, JSON. Nothing here prints; the command line does."""
