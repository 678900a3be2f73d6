"""Campaigns: two sides compared on many scenarios, by several processes; a disagreement shrunk and printed."""
