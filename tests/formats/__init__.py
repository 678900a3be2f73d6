"""The formats, row by row, and the property that ints and arrays decode alike."""
