"""Jobs: the only code that touches disk, clocks and progress bars."""
