"""Every sentence of the page-walk contract, each with a test class that quotes it."""
