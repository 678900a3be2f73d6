"""Files of memory: mapped, unpacked, made of several, or of pieces that are unpacked one by one."""
