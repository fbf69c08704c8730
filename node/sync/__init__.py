"""Join a chain by fetching a proven state instead of executing every block; fill in the past."""
