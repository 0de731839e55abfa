"""Reports: one HTML file that shows what runs scored, how they learned, what they made, and how to make it again."""
